import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { withStoppedFabric } from '../harness/stopped-fabric.ts'
import { verifies } from '../requirements.ts'

const fabric = 'gateway+fabric.secret'
const log = 'ledger+a+log.secret'

const changes: Readonly<Record<string, (dir: string) => void>> = {
  'one secret under the name of another': (dir) => copyFileSync(join(dir, log), join(dir, fabric)),
  'one bit of a secret': (dir) => {
    const bytes = readFileSync(join(dir, fabric))
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1
    writeFileSync(join(dir, fabric), bytes)
  },
  'a secret cut short': (dir) => {
    const bytes = readFileSync(join(dir, fabric))
    writeFileSync(join(dir, fabric), bytes.subarray(0, -4))
  },
  'a secret taken away': (dir) => rmSync(join(dir, fabric)),
  'the index taken away': (dir) => {
    const index = readdirSync(dir).find((name) => name.startsWith('.index')) ?? ''
    rmSync(join(dir, index))
  },
  'a key in the clear': (dir) => writeFileSync(join(dir, fabric), 'x'.repeat(48)),
}

const change =
  (edit: (dir: string) => void): Attempt =>
  () =>
    withStoppedFabric(async ({ dir, startAndCheck }) => {
      edit(join(dir, 'secrets'))
      // A fabric that made itself a new key would be rejected by existing clients, and trusted by
      // every client that asks for it.
      await expect(startAndCheck()).rejects.toThrow()
    })

attack(
  verifies(
    ['secrets:encrypted', 'operate:fail-closed'],
    'a secret that was changed on disk is not used',
  ),
  {
    gateway: Object.fromEntries(Object.entries(changes).map(([way, edit]) => [way, change(edit)])),
    mesh: 'all transports share the secrets of one fabric',
    queue: 'all transports share the secrets of one fabric',
  },
)

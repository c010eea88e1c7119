import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { withStoppedFabric } from '../harness/stopped-fabric.ts'
import { verifies } from '../requirements.ts'

/** The newest of the partial tiles in a folder: the one that counts. */
function newest(dir: string): string {
  const [last] = readdirSync(dir)
    .map(Number)
    .toSorted((a, b) => b - a)
  return join(dir, String(last))
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  const index = at < 0 ? bytes.length + at : at
  bytes[index] = (bytes[index] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

const entries = (log: string) => newest(join(log, 'tile/entries/000.p'))

const rewrites: Readonly<Record<string, (log: string) => void>> = {
  'one bit of the first entry': (log) => flip(entries(log), 12),
  'one bit of the last entry': (log) => flip(entries(log), -20),
  'one bit of a hash': (log) => flip(newest(join(log, 'tile/0/000.p')), 40),
  'one bit of what explains an entry': (log) => flip(newest(join(log, 'detail/000.p')), 60),
  'the size that the checkpoint states': (log) => {
    const file = join(log, 'checkpoint')
    const lines = readFileSync(file, 'utf8').split('\n')
    lines[1] = String(Number(lines[1]) - 1)
    writeFileSync(file, lines.join('\n'))
  },
  'the signature of the checkpoint': (log) => flip(join(log, 'checkpoint'), -10),
  'entries taken away': (log) => rmSync(entries(log)),
  'entries of an earlier time': (log) => {
    const dir = join(log, 'tile/entries/000.p')
    const [oldest] = readdirSync(dir)
      .map(Number)
      .toSorted((a, b) => a - b)
    copyFileSync(join(dir, String(oldest)), entries(log))
  },
  'everything taken away': (log) => rmSync(log, { recursive: true }),
}

const rewrite =
  (change: (log: string) => void): Attempt =>
  () =>
    withStoppedFabric(async ({ dir, startAndCheck }) => {
      change(join(dir, 'ledger/a/log'))
      await expect(startAndCheck()).rejects.toThrow()
    })

attack(verifies(['record:append-only'], 'a history that was rewritten on disk is found out'), {
  gateway: Object.fromEntries(
    Object.entries(rewrites).map(([way, change]) => [way, rewrite(change)]),
  ),
  mesh: 'all transports share one ledger',
  queue: 'all transports share one ledger',
})

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const dir = mkdtempSync(join(tmpdir(), 'starter-'))
const script = join(dir, 'server.mjs')
const starter = JSON.stringify(join(import.meta.dirname, 'starter.ts'))
beforeAll(() => {
  // A server that ends with 7 when it is asked to stop, and a command that does not listen.
  writeFileSync(
    script,
    `import { obeyLauncher, onLauncherSignal } from ${starter}
obeyLauncher()
if (process.argv[2] === 'server') onLauncherSignal(() => process.exit(7))
setInterval(() => undefined, 1_000)
process.stdout.write('ready')`,
  )
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function started(kind: string) {
  const child = fork(script, [kind], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  const ended = once(child, 'exit')
  if (child.stdout === null) throw new Error('the child has no output')
  await once(child.stdout, 'data')
  return { child, ended }
}

test.each([
  ['server', 7, null],
  ['command', null, 'SIGTERM'],
] as const)(
  'a %s stops on the signal of its launcher, and when the launcher is gone',
  async (kind, ...end) => {
    const told = await started(kind)
    told.child.send({ signal: 'SIGTERM' })
    expect(await told.ended).toEqual(end)
    const left = await started(kind)
    left.child.disconnect()
    expect(await left.ended).toEqual(end)
  },
)

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, inject, test } from 'vitest'
import { verifies } from '../requirements.ts'

const fabric = join(import.meta.dirname, '../../packages/fabric')
const entries: Readonly<Record<string, readonly string[]>> = {
  launcher: [join(fabric, 'bin/countersign.js')],
  'entry without the launcher': ['--conditions=countersign-source', join(fabric, 'src/main.ts')],
}

for (const [name, entry] of Object.entries(entries)) {
  test(verifies(['operate:no-debugger'], `the ${name} withstands SIGUSR1`), async () => {
    const dir = mkdtempSync(join(inject('worldsDir'), 'debugger-'))
    const args = [...entry, 'up', '--json', '--port', '0', '--data', join(dir, 'data')]
    // A debugger that does start takes any free port, and so never fails for a taken one.
    const env = { ...process.env, XDG_CONFIG_HOME: dir, NODE_OPTIONS: '--inspect-port=0' }
    const server = spawn(process.execPath, args, { env })
    let complaints = ''
    server.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString()
    })
    try {
      await ready(server)
      server.kill('SIGUSR1')
      const ended = once(server, 'close')
      server.kill('SIGTERM')
      expect(await ended).toEqual([0, null])
      expect(complaints).not.toMatch(/debugger/i)
    } finally {
      server.kill('SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    }
  })
}

async function ready({ stdout }: ChildProcess): Promise<void> {
  if (stdout === null) throw new Error('the server has no output')
  for await (const line of createInterface(stdout)) {
    if (line.includes('"ready"')) return
  }
  throw new Error('the server ended before it was ready')
}

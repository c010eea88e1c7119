import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, inject, test } from 'vitest'
import { openSqliteLeaseStore } from '../../packages/fabric/src/adapters/sqlite/lease-store.ts'
import { verifies } from '../requirements.ts'

const program = new URL('../harness/paused-process.ts', import.meta.url).pathname
const leaseMs = 300

const isStopped = (pid: number): boolean =>
  /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))

/** Runs the process until it stops itself, lets `meanwhile` happen, continues it to its end. */
async function pauseAndContinue(pauseAt: string, meanwhile: (leasesFile: string) => Promise<void>) {
  const dir = mkdtempSync(join(inject('worldsDir'), 'paused-'))
  const leasesFile = join(dir, 'leases.db')
  const args = [program, leasesFile, join(dir, 'ledger'), String(leaseMs), pauseAt]
  const child = spawn(process.execPath, ['--conditions=countersign-source', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const ended = once(child, 'close')
  try {
    await expect.poll(() => lines.at(-1)).toBe('pausing')
    await expect.poll(() => isStopped(child.pid ?? 0)).toBe(true)
    await meanwhile(leasesFile)
    child.kill('SIGCONT')
    await ended
  } finally {
    child.kill('SIGKILL')
  }
  const at = lines.indexOf('continued')
  return { before: lines.slice(0, at), after: lines.slice(at + 1), status: child.exitCode }
}

/** As another process: waits until the lease expires by the clock of the store. */
async function takeSlot(leasesFile: string): Promise<void> {
  const leases = await openSqliteLeaseStore(leasesFile)
  const request = { name: 'a', leaseMs: 60_000, note: '', isFormerEnded: false }
  try {
    await expect.poll(() => leases.take(request)).toBe(2)
  } finally {
    await leases.close()
  }
}

test.runIf(process.platform === 'linux').each(['idle', 'durable'])(
  verifies(
    ['record:one-holder'],
    'a process that is paused (%s) beyond its lease signs and acknowledges nothing more',
  ),
  async (pauseAt) => {
    const { before, after, status } = await pauseAndContinue(pauseAt, takeSlot)
    expect(before.filter((line) => line.startsWith('acknowledged'))).toHaveLength(5)
    expect(after).toEqual([expect.stringMatching(/^fatal LeaseLost: .* another process took it/)])
    expect(status).toBe(7)
  },
)

test.runIf(process.platform === 'linux')(
  'a process that is paused while no other takes its slot goes on',
  async () => {
    const { after, status } = await pauseAndContinue('durable', async () => {
      await new Promise((wait) => setTimeout(wait, leaseMs * 1.5))
    })
    expect(after).toEqual([expect.stringMatching(/^acknowledged 6 /), 'done'])
    expect(status).toBe(0)
  },
)

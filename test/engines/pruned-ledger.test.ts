import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { verifyReceipt } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, inject, test } from 'vitest'
import { openFileLedgerStore } from '../../packages/fabric/src/adapters/file/ledger-store.ts'
import { openLedger } from '../../packages/fabric/src/ledger/open-ledger.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import {
  agedKeys,
  agedLimits,
  copyAged,
  createAged,
  dayMs,
  fillTo,
  logPaths,
  openAged,
  SetClock,
} from '../../tools/crash/aged-ledger.ts'
import { heldLease } from '../../tools/crash/held-lease.ts'
import { testOrigin, trustOf } from '../../tools/crash/lossy-ledger.ts'
import { memoryKeys } from '../../tools/crash/memory-keys.ts'

test('after a crash at any step of a pruning, the log is whole or pruned', async () => {
  const base = await createAged()
  const whole = await copyAged(base)
  const counted = await openAged(whole)
  whole.disk.log.length = 0
  await counted.pruning.prune({ exchange: null })
  const steps = whole.disk.log.length
  await counted.close()
  const outcomes = new Set<number>()
  for (let at = 1; at <= steps; at++) {
    for (const survival of ['synced', 'everything'] as const) {
      const own = await copyAged(base)
      const { disk, recent } = own
      const log = await openAged(own)
      disk.log.length = 0
      disk.setFault({ at, when: at % 2 === 0 ? 'after' : 'before', process: 'dies' })
      await log.pruning.prune({ exchange: null }).catch(() => undefined)
      disk.powerLoss(survival)
      await log.close().catch(() => undefined)
      const next = await openAged(own)
      outcomes.add(next.first)
      await next.check()
      const left = logPaths(disk)
      expect(left.includes('tile/entries/000')).toBe(next.first === 0)
      expect(left.includes('tile/entries/001')).toBe(next.first === 0)
      expect(left.includes('pruning')).toBe(false)
      expect(await next.findReceipt(recent[0] ?? '')).not.toBeNull()
      expect((await next.pruning.prune({ exchange: null })).minimum).toBe(512)
      await next.check()
      const { entries } = await next.read(600, 1_000)
      const records = entries.filter(({ facts }) => facts['event'] === 'log-pruned')
      // One that a crash left without its files has been completed, and is not recorded again.
      expect(records).toHaveLength(1)
      await next.close()
    }
  }
  expect(outcomes).toEqual(new Set([0, 512]))
})

test('for any log and any cuts, all receipts from before verify after', async () => {
  const base = await createAged()
  const { clock } = base
  const log = await openAged(base)
  const trust = trustOf(log)
  const exchanges = [...base.old, ...base.recent]
  for (let month = 0; month < 4; month++) {
    clock.pass(30 * dayMs)
    exchanges.push(...(await fillTo(log, clock, log.size + 300)))
  }
  const receipts: Uint8Array[] = []
  for (const id of exchanges.filter((_, i) => i % 32 === 0)) {
    receipts.push((await log.findReceipt(id)) ?? new Uint8Array())
  }
  await log.close()
  const minima = new Set<number>()
  const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(cuts, async (days) => {
      const opened = await copyAged(base)
      for (const keepDays of days) {
        const cut = await openAged(opened, { retention: { keepDays, holds: [] } })
        minima.add((await cut.pruning.prune({ exchange: null })).minimum)
        await cut.check()
        for (const [at, receipt] of receipts.entries()) {
          await verifyReceipt(receipt, trust)
          const id = exchanges[at * 32] ?? ''
          const isLeft = (await cut.findReceipt(id)) !== null
          expect(isLeft || cut.pruning.mayHave(id)).toBe(true)
        }
        await cut.close()
      }
    }),
    { numRuns: 16 },
  )
  expect(minima.size).toBeGreaterThan(3)
})

const child = join(import.meta.dirname, '../../tools/crash/prune-child.ts')

/** Runs a process that prunes; kills it `killMs` after it has opened the log. */
async function pruneIn(description: string, killMs: number | null): Promise<readonly string[]> {
  const words = ['--conditions=countersign-source', child, description]
  const running = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(running, 'close')
  let text = ''
  let isOpen = false
  running.stdout.on('data', (bytes) => {
    text += String(bytes)
    if (isOpen || killMs === null || !text.includes('found')) return
    isOpen = true
    void sleep(killMs).then(() => running.kill('SIGKILL'))
  })
  await ended
  return text.trim().split('\n')
}

test('a process that is killed while it prunes leaves a log that is whole or pruned', async () => {
  const dir = mkdtempSync(join(inject('worldsDir'), 'pruned-'))
  const clock = new SetClock()
  const subjectKeys = memoryKeys()
  const original = join(dir, 'original')
  const ledger = await openLedger({
    ...{ ...agedKeys, subjectKeys, clock, limits: agedLimits, origin: testOrigin },
    ...{ store: await openFileLedgerStore({ directory: original }) },
    ...{ lease: heldLease, random: systemRandom },
  })
  const trust = trustOf(ledger)
  const old = await fillTo(ledger, clock, 520)
  const receipts = await Promise.all(old.slice(0, 20).map((id) => ledger.findReceipt(id)))
  clock.pass(60 * dayMs)
  await fillTo(ledger, clock, 560)
  await ledger.close()
  const seen = new Set<string>()
  for (let round = 0; round < 16; round++) {
    const directory = join(dir, `round-${round}`)
    cpSync(original, directory, { recursive: true })
    const description = join(dir, `${round}.json`)
    const keys = {
      logKey: agedKeys.logKey.export({ type: 'pkcs8', format: 'pem' }),
      detailKey: Buffer.from(agedKeys.detailKey).toString('base64'),
      subjectKey: Buffer.from((await subjectKeys.load()) ?? []).toString('base64'),
    }
    writeFileSync(description, JSON.stringify({ directory, now: clock.now(), ...keys }))
    await pruneIn(description, round * 6)
    const again = await pruneIn(description, null)
    seen.add(again[0] ?? '')
    expect(['found 0', 'found 256', 'found 512']).toContain(again[0])
    expect(again.at(-1)).toBe('sound 512')
    expect(existsSync(join(directory, 'log/tile/entries/001'))).toBe(false)
    expect(existsSync(join(directory, 'log/pruning'))).toBe(false)
    rmSync(directory, { recursive: true })
  }
  // Some were killed before their first step, and some in between or behind.
  expect(seen.size).toBeGreaterThan(1)
  for (const receipt of receipts) await verifyReceipt(receipt ?? new Uint8Array(), trust)
  rmSync(dir, { recursive: true })
})

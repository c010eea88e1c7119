import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { memoryStateStore, StateMemory } from '../adapters/memory/state-store.ts'
import type { Closer } from '../concurrency/closing.ts'
import { parseConfig } from '../config/config.ts'
import { readEnvironment } from '../config/read.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { StateStream } from '../state/state-stream.ts'
import { isUnusedFolder, openCounters } from './counters.ts'

/** A data folder, on which processes open their counters. */
function openFolder() {
  const dataDir = mkdtempSync(join(inject('worldsDir'), 'counters-'))
  const losses: string[] = []
  return {
    losses,
    async start(settings: object) {
      const file = { path: 'countersign.yaml', text: JSON.stringify(settings) }
      const environment = {
        config: parseConfig(file, readEnvironment(), { dataDir }),
        ...{ clock: systemClock, random: systemRandom },
        log: (_: string, facts?: Readonly<Record<string, unknown>>) => {
          losses.push(String(facts?.['reason']))
        },
        onFatal: () => undefined,
      }
      const closers: Closer[] = []
      const isFirst = isUnusedFolder(environment.config)
      const store = memoryStateStore(new StateMemory())
      const state = await StateStream.open({ ...environment, store })
      closers.push({ name: 'state', close: () => state.close() })
      const { guard } = await openCounters(environment, { state, isFirst }, closers)
      writeFileSync(join(dataDir, 'state.db'), '')
      return {
        claim: (value: string) =>
          guard.claim({ value, createdAt: systemClock.now(), windowMs: 60_000 }),
        close: () => Promise.all(closers.map(({ close }) => close())),
      }
    },
  }
}

const lone = {}
const replica = { replica: true }

test('replicas on one data folder accept a value once, from their first start on', async () => {
  const { start, losses } = openFolder()
  const [one, two] = [await start(replica), await start(replica)]
  expect(await one.claim('n')).toBe(true)
  expect(await two.claim('n')).toBe(false)
  await two.close()
  const three = await start(replica)
  expect(await three.claim('n')).toBe(false)
  expect(losses).toEqual([])
})

test.each([
  ['replica', replica, lone],
  ['fabric that is none', lone, replica],
])('a %s keeps the other kind from its data folder', async (_, first, second) => {
  const { start } = openFolder()
  const running = await start(first)
  await expect(start(second)).rejects.toThrow(/another process has .*each of them with `--replica`/)
  await running.close()
  await (await start(second)).close()
})

test('what the other kind used before counts as lost', async () => {
  const { start, losses } = openFolder()
  for (const [at, kind] of [replica, lone, replica, lone].entries()) {
    const running = await start(kind)
    expect(losses).toHaveLength(at)
    // At the first start no value can have been used before.
    if (at === 0) expect(await running.claim('n')).toBe(true)
    else await expect(running.claim('n')).rejects.toThrow('may have been lost')
    await running.close()
  }
})

const postgresql = {
  engines: { state: { engine: 'postgresql', url: 'postgresql://u@localhost/d' } },
}

test.each([
  ['replica', { ...postgresql, replica: true }],
  ['ledger.slot', { ...postgresql, ledger: { slot: 'b' } }],
])('with a state of several hosts, %s needs counters that they share', async (name, settings) => {
  const { start } = openFolder()
  await expect(start(settings)).rejects.toThrow(`with ${name}, other processes share the state`)
})

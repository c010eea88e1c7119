import { WATCH_OPERATION } from '@countersign/protocol'
import { expect, test } from 'vitest'
import type { OpenedEntry } from '../ledger/ledger.ts'
import { Refusal } from '../lib/refusal.ts'
import { createAdministration } from './administration.ts'
import type { AdminDeps } from './ports.ts'

test('an entry is written once for all who watch, and the next one anew', async () => {
  const listeners: ((entry: OpenedEntry) => void)[] = []
  const watchDecisions = (listener: (entry: OpenedEntry) => void) => {
    listeners.push(listener)
    return () => undefined
  }
  const administration = createAdministration({ watchDecisions } as unknown as AdminDeps)
  const open = async () => {
    const answer = await administration.carryOut(WATCH_OPERATION, {}, {} as never)
    if (answer instanceof Refusal || answer.body instanceof Uint8Array) throw new Error('no stream')
    return answer.body[Symbol.asyncIterator]()
  }
  const watchers = [await open(), await open(), await open()]
  const written = async (entry: OpenedEntry) => {
    for (const listener of listeners) listener(entry)
    const events = await Promise.all(watchers.map((watcher) => watcher.next()))
    return events.map(({ value }) => value?.data)
  }
  const entry = (index: number) =>
    ({ index, kind: 'refusal', exchange: 'exc_a', at: 0, facts: {} }) as unknown as OpenedEntry
  const first = await written(entry(1))
  expect(new Set(first).size).toBe(1)
  const second = await written(entry(2))
  expect(new Set([...first, ...second]).size).toBe(2)
})

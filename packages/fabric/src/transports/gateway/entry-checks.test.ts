import { createId, type MeshEntry } from '@countersign/protocol'
import { expect, test } from 'vitest'
import type { Caller } from '../../identity/caller.ts'
import { Refusal } from '../../lib/refusal.ts'
import { createEntryChecks, type EntryChecksOptions } from './entry-checks.ts'

const now = 1_800_000_000_000
const connector: Caller = {
  ...{ spiffeId: 'spiffe://a.test/agent/bob', kind: 'agent', name: 'bob', method: 'certificate' },
  ...{ credentialId: '', roles: [], segment: '', attributes: {}, scopes: null, expiresAt: now },
}

function entryOf(at: number): MeshEntry {
  const exchange = createId('dec', now, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, at >> 8, at & 255))
  return { kind: 'intent', exchange, facts: { receiver: 'bob', 'private.request': '{}' } }
}

test('a batch of entries lets other work have its turn', async () => {
  let turns = 0
  let next = setImmediate(function turn() {
    turns++
    next = setImmediate(turn)
  })
  const seen: number[] = []
  const options: EntryChecksOptions = {
    rooms: { authorization: {} as EntryChecksOptions['rooms']['authorization'] },
    trust: { trustDomain: 'a.test', fabricKey: new Uint8Array(32) },
    isProvenRequest: () => Promise.resolve(true),
    requestFault() {
      seen.push(turns)
      return 'not a request to policy'
    },
    ledger: { explain: () => Promise.resolve([]), openIntent: () => null },
  }
  const entries = Array.from({ length: 256 }, (_, at) => entryOf(at))
  const claim = await createEntryChecks(options).claim(entries, connector, now)
  clearImmediate(next)
  expect(claim).toBeInstanceOf(Refusal)
  expect(seen).toHaveLength(256)
  expect(new Set(seen).size).toBeGreaterThanOrEqual(16)
})

import { describe, expect, test } from 'vitest'
import type { OpenedEntry } from './ledger-reads.ts'
import { createReceiptAccess } from './receipt-access.ts'

const ann = {
  kind: 'agent' as const,
  principal: 'spiffe://a.test/agent/ann',
  name: 'ann',
  scopes: null,
}
const bob = {
  kind: 'agent' as const,
  principal: 'spiffe://a.test/agent/bob',
  name: 'bob',
  scopes: null,
}
/** Its name is also that of a route. */
const user = { ...bob, kind: 'user' as const, principal: 'spiffe://a.test/user/bob' }

function accessTo(
  kind: OpenedEntry['kind'],
  facts: OpenedEntry['facts'],
  erased?: readonly string[],
  isCut = false,
) {
  const lost = erased === undefined ? {} : { erased }
  const entry = { kind, facts, exchange: 'exc_1', index: 0, at: 0, ...lost }
  const ledger = {
    explain: (exchange: string) => Promise.resolve(exchange === 'exc_1' ? [entry] : []),
    findReceipt: () => Promise.resolve(null),
    origin: 'a.test/ledger/a',
    pruning: { mayHave: (id: string) => id === 'exc_old' || (isCut && id === 'exc_1') },
  }
  return createReceiptAccess(ledger, {
    refusalOf: () => Promise.resolve(null),
    addressOf: () => Promise.resolve(null),
  })
}

const called = { caller: ann.principal, receiver: 'bob', protocol: 'a2a' }

describe('a receipt', () => {
  test('is of the caller and of the agent that received, and of no other', async () => {
    const { isOwn } = accessTo('intent', called)
    expect(await isOwn('exc_1', ann)).toBe(true)
    expect(await isOwn('exc_1', bob)).toBe(true)
    expect(await isOwn('exc_1', { ...bob, name: 'carol' })).toBe(false)
    expect(await isOwn('exc_1', user)).toBe(false)
    expect(await isOwn('exc_2', ann)).toBe(false)
  })

  test.each(['queue', 'admin'])(
    'is not of an agent that is named like a receiver of %s',
    async (protocol) => {
      const { isOwn } = accessTo('intent', { ...called, protocol })
      expect(await isOwn('exc_1', bob)).toBe(false)
      expect(await isOwn('exc_1', ann)).toBe(true)
    },
  )

  test('is read with a scoped credential only where it went to one of its targets', async () => {
    const { isOwn } = accessTo('intent', called)
    expect(await isOwn('exc_1', { ...ann, scopes: ['carol'] })).toBe(false)
    expect(await isOwn('exc_1', { ...ann, scopes: ['carol', 'bob'] })).toBe(true)
  })

  test('of an erased exchange is refused as such to the parties that are left, and to no other', async () => {
    const { isOwn, whyNone } = accessTo('intent', {}, ['bob', 'https://issuer.example#user/1'])
    const foreign = { ...bob, principal: 'spiffe://b.test/agent/bob' }
    const issued = { ...user, principal: 'https://issuer.example#user/1' }
    const readers = [ann, bob, foreign, issued, { ...bob, scopes: ['bob'] }]
    const own = await Promise.all(readers.map((reader) => isOwn('exc_1', reader)))
    expect(own).toEqual([false, true, false, true, false])
    expect(await whyNone('exc_1')).toMatchObject({ code: 'EXCHANGE_ERASED' })
  })

  test('of pruned entries is refused as such, by its time alone', async () => {
    const cut = accessTo('outcome', { result: 'delivered' }, undefined, true)
    expect(await cut.whyNone('exc_1')).toMatchObject({ code: 'ENTRIES_PRUNED' })
    expect(cut.pruned('exc_1')).toMatchObject({ code: 'ENTRIES_PRUNED' })
    const { whyNone, pruned } = accessTo('intent', called)
    expect(await whyNone('exc_old')).toMatchObject({ code: 'ENTRIES_PRUNED' })
    expect(pruned('exc_old')).toMatchObject({ code: 'ENTRIES_PRUNED' })
    expect(pruned('exc_1')).toBeNull()
  })

  test('that is not there is one of an open exchange, or of an unknown one', async () => {
    const { whyNone } = accessTo('intent', called)
    expect(await whyNone('exc_1')).toMatchObject({ code: 'EXCHANGE_OPEN', retryAfterMs: 1000 })
    expect(await whyNone('exc_2')).toMatchObject({ code: 'EXCHANGE_UNKNOWN' })
  })
})

import { createId, utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import type { EntryDraft } from '../../ledger/ledger.ts'
import { LedgerBusy } from '../../ledger/unavailable.ts'
import { systemRandom } from '../../lib/random.ts'
import { remoteLedger } from './remote-ledger.ts'

const begun = {
  ...{ transport: 'mesh', protocol: 'http', operation: 'GET', receiver: 'b' },
  ...{ caller: 'spiffe://a.test/agent/a', 'attested.request': 'connector' },
}
const ended = { result: 'delivered', 'attested.response': 'connector' }

const draft = (kind: 'intent' | 'outcome'): EntryDraft => ({
  kind,
  exchange: createId('dec', Date.now(), systemRandom(10)),
  at: Date.now(),
  facts: kind === 'intent' ? begun : ended,
})

/** A fabric that answers when it is told to. */
function openSilentFabric() {
  const { promise, resolve } = Promise.withResolvers<{ status: number; body: Uint8Array }>()
  const ledger = remoteLedger({ request: () => promise })
  return {
    ledger,
    answer: (status: number, body: object) => resolve({ status, body: utf8(JSON.stringify(body)) }),
  }
}

test('beyond its bound no exchange begins, and what closes one still waits', async () => {
  const { ledger, answer } = openSilentFabric()
  const waiting = Array.from({ length: 1 + 4096 }, () => ledger.append(draft('intent')))
  const settled = Promise.allSettled(waiting)
  await expect(ledger.append(draft('intent'))).rejects.toMatchObject({
    name: 'LedgerBusy',
    limit: { name: 'mesh.waitingEntries', value: 4096 },
  })
  let isClosingRefused = false
  const closing = ledger.append(draft('outcome')).catch(() => {
    isClosingRefused = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(isClosingRefused).toBe(false)
  answer(500, {})
  await Promise.all([settled, closing])
})

test('a limit of the fabric reaches the caller by its name', async () => {
  const { ledger, answer } = openSilentFabric()
  const appended = ledger.append(draft('intent'))
  answer(429, { code: 'RATE_LIMITED', limit: 'limits.openExchanges, 8192' })
  const failure = await appended.then(
    () => null,
    (cause: unknown) => cause,
  )
  expect(failure).toBeInstanceOf(LedgerBusy)
  expect(failure).toMatchObject({ limit: { name: 'limits.openExchanges', value: 8192 } })
})

test('any other failure is none of a limit', async () => {
  for (const body of [{}, { limit: 7 }, { limit: 'x' }, { limit: 'no such thing, many' }]) {
    const { ledger, answer } = openSilentFabric()
    const appended = ledger.append(draft('intent'))
    answer(503, body)
    const failure = await appended.then(
      () => null,
      (cause: unknown) => cause,
    )
    expect(failure).toBeInstanceOf(Error)
    expect(failure).not.toBeInstanceOf(LedgerBusy)
  }
})

import { createExchangeId, utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { kindOf } from '../../protocols/a2a/card-content.ts'
import { noTasks } from '../../protocols/a2a/task-ids.ts'
import type { UpstreamResponse } from '../../routes/upstream.ts'
import { connectorAnswers } from './connector-budget.ts'
import { readAnswer } from './outbound-answer.ts'

const json = ['content-type', 'application/json'] as const

const answers = connectorAnswers({ receiverPart: 1, callerPart: 1 }, 10_000, systemClock)

/**
 * Returns the response that an agent receives for `answer`, which came from a connector where
 * policy requires a countersignature.
 */
async function hear(
  status: number,
  headers: readonly (readonly [string, string])[],
  body: string,
  operation = 'SendMessage',
  prefix = '',
) {
  const response: UpstreamResponse = {
    status,
    headers: [...headers],
    body: (async function* () {
      yield utf8(body)
    })(),
    discard: () => undefined,
  }
  const known = { caller: {}, target: { name: 'shop' } }
  const decision = { obligations: { signedResponse: operation === 'SendMessage', mask: [] } }
  const heard = await readAnswer(
    {
      deps: { signatures: { checkResponse: () => null } as never },
      agent: { signer: { keyId: 'k', sign: () => new Uint8Array(64) }, trustDomain: 'a.test' },
      ...{
        host: '127.0.0.1',
        port: 7000,
        bodyBytesMax: 10_000,
        readKind: (body: Uint8Array, type: string) => kindOf(body, type),
      },
    },
    {
      response,
      request: { method: 'POST', path: '/', authority: '', headers: [] },
      share: answers.open('shop', 'caller'),
    },
    {
      route: { name: 'shop', protocol: 'a2a', endpoints: [], prefix, cardUrls: [] },
      classified: { protocol: 'a2a', operation, tool: '', rpcId: 1, tasks: noTasks },
      admitted: { ...known, decision } as unknown as Exchange<Authorized>,
    },
  )
  if (heard instanceof Refusal) return heard.code
  const text = Buffer.from(heard.body as Uint8Array).toString()
  const { status: given, headers: passed } = heard
  return { status: given, headers: passed, body: JSON.parse(text) as Record<string, unknown> }
}

test('an answer without a countersignature is not let through for calling itself a refusal', async () => {
  const refusal = ['countersign-refusal', 'NOT_PERMITTED'] as const
  expect(await hear(200, [json], '{"ok":1}')).toBe('COUNTERSIGNATURE_MISSING')
  expect(await hear(403, [json, refusal], '{"ok":1}')).toBe('COUNTERSIGNATURE_MISSING')
})

test('a status by which clients send again is the word of the fabric alone', async () => {
  const refusal = ['countersign-refusal', 'CREDENTIAL_EXPIRED'] as const
  const told = await hear(401, [json, refusal], '{}', 'GetTask', '/agents/shop')
  expect(told).toMatchObject({ status: 401, headers: [json, refusal] })
  expect(await hear(401, [json], '{}', 'GetTask', '/agents/shop')).toBe('RESPONSE_REJECTED')
  expect(await hear(307, [json, refusal], '{}', 'GetTask', '/agents/shop')).toBe(
    'RESPONSE_REJECTED',
  )
  expect(await hear(401, [json, refusal], '{}', 'GetTask')).toBe('RESPONSE_REJECTED')
})

const card = {
  name: 'shop',
  supportedInterfaces: [{ url: 'https://direct.example/a2a', protocolBinding: 'JSONRPC' }],
}

test.each([200, 203, 299])('a card under the status %d leads through us', async (status) => {
  const plain = await hear(status, [json], JSON.stringify(card), 'GetAgentCard')
  expect(plain).toMatchObject({ body: { name: 'shop', supportedInterfaces: [] } })
  const answer = JSON.stringify({ jsonrpc: '2.0', id: 1, result: card, extra: card })
  const extended = await hear(status, [json], answer, 'GetExtendedAgentCard')
  expect(extended).toMatchObject({ body: { id: 1, result: { supportedInterfaces: [] } } })
  expect(JSON.stringify([plain, extended])).not.toContain('direct.example')
})

test('a card in a stream, and one that cannot be read, is refused', async () => {
  const stream = ['content-type', 'text/event-stream'] as const
  expect(await hear(200, [stream], 'data: {}\n\n', 'GetExtendedAgentCard')).toBe(
    'RESPONSE_REJECTED',
  )
  expect(await hear(200, [json], '[]', 'GetAgentCard')).toBe('RESPONSE_REJECTED')
  const none = '{"jsonrpc":"2.0","id":1,"result":null}'
  expect(await hear(200, [json], none, 'GetExtendedAgentCard')).toBe('RESPONSE_REJECTED')
})

test('an exchange and a receipt pass in the one form that a fabric gives them', async () => {
  const id = createExchangeId('a', 1_800_000_000_000, new Uint8Array(10))
  const path = '/v1/receipts/'
  const heard = (exchange: string, receipt: string) => {
    const named = [
      ['countersign-exchange', exchange] as const,
      ['countersign-receipt', receipt] as const,
    ]
    return hear(200, [json, ...named], '{}', 'GetTask', '/agents/shop')
  }
  const own = [json, ['countersign-exchange', id], ['countersign-receipt', `${path}${id}`]]
  expect(await heard(id, `${path}${id}`)).toMatchObject({ headers: own })
  for (const odd of [
    `exc_a_${'0'.repeat(32)}`,
    id.replace('exc_a_', 'exc_'),
    `${id}0`,
    id.toUpperCase(),
    '',
    '<b>',
    `${id}, ${id}`,
  ]) {
    expect(await heard(odd, `${path}${odd}`)).toMatchObject({ headers: [json] })
  }
  expect(await heard(id, `https://other.example${path}${id}`)).toMatchObject({
    headers: own.slice(0, 2),
  })
})

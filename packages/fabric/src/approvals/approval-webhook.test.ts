import { expect, test } from 'vitest'
import type { ApprovalRecord } from './approval-record.ts'
import {
  approvalWebhook,
  NOTIFICATIONS_MAX,
  NOTIFICATIONS_PER_CALLER_MAX,
  type WebhookMessage,
} from './approval-webhook.ts'

const principal = (subject: string) => ({ kind: 'agent', issuer: 'a.test', subject }) as const

const record = (caller = 'a'): ApprovalRecord => ({
  ...{ id: 'apr_1', digest: 'ab', caller: principal(caller), user: null, receiver: principal('b') },
  ...{ protocol: 'mcp', operation: 'tools/call', tool: 'pay', parameters: ['iban'] },
  askedBy: principal(caller),
  ...{ reason: 'moves money', requestedBy: 'exc_1', requestedAt: 1, expiresAt: 1_000 },
  ...{
    state: 'pending',
    approver: null,
    approverUser: null,
    decidedAt: null,
    note: '',
    held: null,
    consumedBy: null,
    history: '',
  },
})

function openWebhook(answers: readonly (number | Error)[]) {
  const posted: WebhookMessage[] = []
  const paused: number[] = []
  const logged: unknown[] = []
  const left = [...answers]
  const notify = approvalWebhook({
    url: new URL('https://hooks.internal/approvals?team=pay'),
    signer: { keyId: 'fabric-1', sign: () => new Uint8Array(64) },
    clock: { now: () => 5_000 },
    post(message) {
      posted.push(message)
      const answer = left.length > 1 ? left.shift() : left[0]
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer ?? 0)
    },
    pause(ms) {
      paused.push(ms)
      return Promise.resolve()
    },
    log: (_, facts) => logged.push(facts),
  })
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  return { notify, posted, paused, logged, settled }
}

test('a notification has the ends, the operation and the end, and no parameter', async () => {
  const { notify, posted, settled, logged } = openWebhook([204])
  notify(record())
  await settled()
  expect(posted).toHaveLength(1)
  const [message] = posted
  expect(JSON.parse(Buffer.from(message?.body ?? []).toString())).toEqual({
    ...{ id: 'apr_1', caller: 'spiffe://a.test/agent/a', receiver: 'spiffe://a.test/agent/b' },
    ...{ protocol: 'mcp', operation: 'tools/call', tool: 'pay' },
    expiresAt: '1970-01-01T00:00:01.000Z',
  })
  const input = new Map(message?.headers).get('signature-input')
  expect(input).toContain('"@authority" "@path" "@query" "content-type" "content-digest"')
  expect(logged).toEqual([])
})

test('an attempt that fails is made again, a bounded number of times, and then logged', async () => {
  const once = openWebhook([new Error('refused'), 500, 200])
  once.notify(record())
  await once.settled()
  expect([once.posted.length, once.paused, once.logged]).toEqual([3, [1_000, 10_000], []])
  const never = openWebhook([503])
  never.notify(record())
  await never.settled()
  expect(never.paused).toEqual([1_000, 10_000, 60_000])
  expect(never.logged).toEqual([{ approval: 'apr_1', cause: 'Error: status 503' }])
})

test('one party with many requests has its share alone, and others are notified', () => {
  const { notify, posted, logged } = openWebhook([200])
  for (let i = 0; i < NOTIFICATIONS_MAX; i++) notify(record())
  expect(posted).toHaveLength(NOTIFICATIONS_PER_CALLER_MAX)
  const cause = 'too many of spiffe://a.test/agent/a are under way'
  expect(logged).toContainEqual({ approval: 'apr_1', cause })
  for (let i = 0; i < NOTIFICATIONS_MAX; i++) notify(record(`other-${i % 4}`))
  expect(posted).toHaveLength(5 * NOTIFICATIONS_PER_CALLER_MAX)
})

test('a connector has one share, whichever callers it names', () => {
  const { notify, posted } = openWebhook([200])
  const askedBy = principal('connected')
  for (let i = 0; i < NOTIFICATIONS_MAX; i++) notify({ ...record(`named-${i}`), askedBy })
  expect(posted).toHaveLength(NOTIFICATIONS_PER_CALLER_MAX)
  notify(record('named-1'))
  expect(posted).toHaveLength(NOTIFICATIONS_PER_CALLER_MAX + 1)
})

test('many parties together have all places, and the next has one when one is free', async () => {
  const { notify, posted, settled } = openWebhook([200])
  for (let i = 0; i < 2 * NOTIFICATIONS_MAX; i++) notify(record(`party-${i}`))
  expect(posted).toHaveLength(NOTIFICATIONS_MAX)
  await settled()
  notify(record('late'))
  expect(posted).toHaveLength(NOTIFICATIONS_MAX + 1)
})

import { expect, test } from 'vitest'
import type { AgentRecord } from '../identity/directory.ts'
import { Refusal, type Withdrawal } from '../lib/refusal.ts'
import type { Obligations, PolicyRequest, PolicySet } from '../policy/policy.ts'
import { type ForwardedDecision, formatDecision, parseDecision } from './forwarded-decision.ts'
import { recheckForwarded } from './recheck-forwarded.ts'

const none: Obligations = {
  ...{ mask: [], block: [], signedRequest: false, signedResponse: false },
  ...{ assurance: 'durable', approval: null },
}

const decided: ForwardedDecision = {
  ...{ policyVersion: 'one', protocol: 'a2a', operation: 'SendMessage', tool: '' },
  ...{ method: 'token', signed: false },
  obligations: { mask: ['email'], block: [], signedResponse: false, approval: 'boss' },
  taskOwners: [],
  vouched: null,
  user: '',
}

const caller = {
  ...{ kind: 'agent', name: 'caller', roles: [], segment: '', attributes: {}, status: 'active' },
} as unknown as AgentRecord

/** A set that permits all, under these obligations, or nothing. */
function setOf(version: string, obligations: Partial<Obligations> | null): PolicySet {
  const effect = obligations === null ? 'deny' : 'permit'
  const decision = { effect, policies: [], errors: [], obligations: { ...none, ...obligations } }
  return { version, decide: () => decision } as PolicySet
}

/**
 * A connector that has received `heard` states, the last with `set`; `next` is the state that it
 * receives when it waits.
 */
function openRecheck(
  set: PolicySet,
  {
    heard = 1,
    known = true,
    had = [],
    next = [],
  }: {
    readonly heard?: number
    readonly known?: boolean
    readonly had?: readonly string[]
    readonly next?: readonly PolicySet[]
  } = {},
) {
  const coming = [...next]
  const asked: PolicyRequest[] = []
  const state = { set, heard, known, isFresh: true, waits: 0 }
  const versions = new Set([...had, set.version])
  const hear = (): void => {
    const news = coming.shift()
    if (news === undefined) return
    versions.add(news.version)
    Object.assign(state, { set: news, heard: state.heard + 1, known: true })
  }
  const deps = {
    authorization: {
      policy: () => ({
        ...{ version: state.set.version },
        decide(request: PolicyRequest) {
          asked.push(request)
          return state.set.decide(request)
        },
      }),
      riskOf: () => 0,
      findPrincipal: () => (state.known ? caller : null),
      findReceiver: () => ({ kind: 'agent', name: 'b', roles: [], segment: '', attributes: {} }),
      trustDomain: 'a.test',
      now: () => 0,
    },
    news: {
      count: () => state.heard,
      hasHad: (version: string) => versions.has(version),
      wait(_: string, isHeard: () => boolean) {
        if (isHeard()) return null
        state.waits += 1
        hear()
        return Promise.resolve()
      },
      refresh() {
        hear()
        return Promise.resolve(state.isFresh)
      },
    },
  } as const
  const recheck = (
    given: ForwardedDecision | null = decided,
    from: string = 'spiffe://a.test/agent/caller',
  ) => {
    const call = { from, receiver: 'b', decided: given, changesAtReceipt: 1 }
    return recheckForwarded(deps as Parameters<typeof recheckForwarded>[0], call)
  }
  return { recheck, state, asked, hear }
}

async function verdictOf(given: Promise<Refusal | (() => Withdrawal | null)>) {
  const answer = await given
  const refusal = answer instanceof Refusal ? answer : answer()
  if (refusal === null) return null
  return refusal.code === 'WITHDRAWN' ? (refusal as Withdrawal).reason : refusal.code
}

test('the very set of the gateway, and no news since the call came: nothing is decided again', async () => {
  const { recheck, asked } = openRecheck(setOf('one', {}))
  expect(await verdictOf(recheck())).toBeNull()
  expect(asked).toEqual([])
})

test('another set is asked the question that the gateway was asked', async () => {
  const { recheck, asked } = openRecheck(setOf('two', {}))
  expect(await verdictOf(recheck())).toBeNull()
  expect(asked[0]).toMatchObject({
    action: 'call',
    context: {
      ...{ transport: 'gateway', protocol: 'a2a', operation: 'SendMessage' },
      ...{ method: 'token', signed: false },
    },
  })
})

const vouched = { roles: ['payer'], segment: 'eu', attributes: { team: 'a' }, risk: 7 }

test('a caller of another issuer is asked about as the gateway describes it', async () => {
  const { recheck, asked } = openRecheck(setOf('two', {}), { known: false })
  const from = 'https://login.example.com#user/bob'
  expect(await verdictOf(recheck({ ...decided, vouched }, from))).toBeNull()
  const { risk, ...described } = vouched
  expect(asked[0]?.principal).toEqual({ kind: 'user', name: from, ...described })
  expect(asked[0]?.context.risk).toBe(risk)
})

test.each([
  ['spiffe://a.test/agent/caller', vouched, 'UNDECIDED'],
  ['spiffe://b.test/agent/caller', vouched, 'UNDECIDED'],
  ['https://login.example.com#user/bob', null, 'UNDECIDED'],
  ['caller', vouched, 'MESSAGE_MALFORMED'],
])('a caller that is not known is refused: %s', async (from, described, code) => {
  const { recheck } = openRecheck(setOf('one', {}), { known: false })
  expect(await verdictOf(recheck({ ...decided, vouched: described }, from))).toBe(code)
})

test('news that came since the head of the call are reason enough to ask', async () => {
  const { recheck } = openRecheck(setOf('one', null), { heard: 2 })
  expect(await verdictOf(recheck())).toBe('policy-denies')
})

test.each([
  ['policy-denies', null],
  ['policy-tightened', { mask: ['phone'] }],
  ['policy-tightened', { block: ['email'] }],
  ['policy-tightened', { signedRequest: true }],
  ['policy-tightened', { signedResponse: true }],
  // Another approval than the one that the gateway used, and the very same.
  ['policy-tightened', { approval: 'chief' }],
  [null, { approval: 'boss' }],
  [null, { mask: ['email'] }],
] as const)('a newer set gives %s for %o', async (expected, obligations) => {
  const { recheck, state } = openRecheck(setOf('two', obligations), { had: ['one'] })
  expect(await verdictOf(recheck())).toBe(expected)
  expect(state.waits).toBe(0)
})

test('a set that may be older is waited out, and decides nothing if no other comes', async () => {
  const behind = openRecheck(setOf('zero', null), { next: [setOf('one', {}), setOf('one', {})] })
  expect(await verdictOf(behind.recheck())).toBeNull()
  const never = openRecheck(setOf('zero', null))
  const refusal = await never.recheck()
  expect(refusal).toMatchObject({ code: 'UNDECIDED', mayHaveActed: false })
  expect(refusal).toHaveProperty('retryAfterMs', 1000)
})

test('a caller who becomes known is decided on by what holds at that moment, and by no older news', async () => {
  const permitted = openRecheck(setOf('one', {}), { known: false, next: [setOf('one', {})] })
  expect(await verdictOf(permitted.recheck())).toBeNull()
  const next = [setOf('one', {}), setOf('two', null)]
  const forbidden = openRecheck(setOf('one', {}), { known: false, next })
  expect(await verdictOf(forbidden.recheck())).toBe('policy-denies')
  const unconfirmed = openRecheck(setOf('one', {}), { known: false, next: [setOf('one', {})] })
  unconfirmed.state.isFresh = false
  expect(await verdictOf(unconfirmed.recheck())).toBe('UNDECIDED')
  const unknown = openRecheck(setOf('one', {}), { known: false })
  expect(await verdictOf(unknown.recheck())).toBe('UNDECIDED')
})

test('of a call about tasks of others, the right to each of them is decided again', async () => {
  const about = { ...decided, taskOwners: ['x', 'y'] }
  const { recheck, state, asked } = openRecheck(setOf('two', {}), { had: ['one'] })
  expect(await verdictOf(recheck(about))).toBeNull()
  expect(asked.slice(0, 3).map(({ action, context }) => [action, context.taskOwner])).toEqual([
    ['call', undefined],
    ['administer', 'x'],
    ['administer', 'y'],
  ])
  for (const obligations of [null, { approval: 'boss' }, { signedRequest: true }]) {
    const { decide: open } = setOf('two', { mask: ['email'] })
    const { decide: shut } = setOf('two', obligations)
    const decide = (request: PolicyRequest) =>
      request.context.taskOwner === 'y' ? shut(request) : open(request)
    Object.assign(state, { set: { ...setOf('two', {}), decide } })
    expect(await verdictOf(recheck(about))).toBe('policy-denies')
    expect(await verdictOf(recheck())).toBeNull()
  }
})

test('a change while a connection is waited for is checked for each delivery', async () => {
  const { recheck, hear } = openRecheck(setOf('one', {}), { next: [setOf('two', null)] })
  const still = await recheck()
  if (still instanceof Refusal) throw new Error(still.detail)
  expect(still()).toBeNull()
  hear()
  expect(still()).toMatchObject({ reason: 'policy-denies' })
})

test('a call without a decision, or with one that cannot be read, is not delivered', async () => {
  const { recheck } = openRecheck(setOf('one', {}))
  expect(await verdictOf(recheck(null))).toBe('UNDECIDED')
  const foreignOwners = { of: (name: string) => new Set([`not ${name}`]) }
  const authorized = {
    ...{ caller: { principal: 'a' }, target: { foreignOwners } },
    decision: { obligations: none },
    policyVersion: 'one',
    question: {
      context: {
        protocol: 'mcp',
        operation: 'tools/call',
        tool: 'grüße',
        method: 'token',
        signed: true,
      },
    },
  }
  const text = formatDecision(authorized as unknown as Parameters<typeof formatDecision>[0])
  expect(parseDecision(text)).toMatchObject({
    ...{ tool: 'grüße', signed: true, policyVersion: 'one', taskOwners: ['not a'] },
  })
  for (const crooked of [undefined, '', '!', 'e30', 'bnVsbA', 'W10', `${text}A`, text.slice(4)]) {
    expect(parseDecision(crooked)).toBeNull()
  }
})

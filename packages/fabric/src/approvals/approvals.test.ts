import { setImmediate } from 'node:timers/promises'
import type { Principal } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { memoryRecordStore } from '../adapters/memory/record-store.ts'
import { Refusal } from '../lib/refusal.ts'
import { APPROVED_MS, DECISION_MS } from './approval-record.ts'
import {
  APPROVALS_PENDING_MAX,
  APPROVALS_PENDING_PER_CALLER_MAX,
  APPROVALS_PENDING_PER_RECEIVER_MAX,
  type ApprovalRequest,
  Approvals,
  type Approver,
  type RecordedDecision,
  type UsedApproval,
} from './approvals.ts'

const pendingMs = 120_000
const digestOf = (text: string): string => text.padStart(64, '0')

const principal = (subject: string, kind: Principal['kind'] = 'agent'): Principal => ({
  ...{ kind, issuer: 'fabric.test', subject },
})
const agentId = (name: string): string => `spiffe://fabric.test/agent/${name}`
const alice: Approver = { caller: principal('alice', 'user'), user: null, exchange: 'exc_approve' }

const request = (changes: Partial<ApprovalRequest> = {}): ApprovalRequest => ({
  askedBy: changes.caller ?? principal('buyer'),
  digest: digestOf('a'),
  caller: principal('buyer'),
  user: null,
  receiver: principal('bank'),
  ...{ protocol: 'mcp', operation: 'tools/call', tool: 'pay', parameters: ['amount'] },
  reason: 'moves money',
  exchange: 'exc_1',
  ...changes,
})

/** One store, and as many processes on it as a test asks for. */
class World {
  now = 1_000
  readonly active = new Map<string, boolean>()
  readonly recorded: RecordedDecision[] = []
  readonly notified: string[] = []
  canRecord = true
  history = ''
  readonly records = memoryRecordStore({ clock: { now: () => this.now } })
  #ids = 0
  #fault: { readonly step: number; readonly what: string | null } = { step: 0, what: null }
  #steps = 0

  /** Lets a write of a row or an entry fail: the first one from now on is number 1. */
  onStep(step: number, what: 'ends' | 'ends after it' | 'is slow' | null): void {
    this.#steps = 0
    this.#fault = { step, what }
  }

  async #step<Result>(carryOut: () => Promise<Result>): Promise<Result> {
    const { step, what } = this.#fault
    const fault = ++this.#steps === step ? what : null
    if (fault === 'ends') throw new Error('the process ended')
    if (fault === 'is slow') {
      this.now += DECISION_MS
      for (let turn = 0; turn < 20; turn++) await setImmediate()
    }
    const result = await carryOut()
    if (fault === 'ends after it') throw new Error('the process ended')
    return result
  }

  open(): Approvals {
    return new Approvals({
      records: {
        ...this.records,
        put: (...args) => this.#step(() => this.records.put(...args)),
      },
      clock: { now: () => this.now },
      history: () => this.history,
      random: (count) => {
        const id = ++this.#ids
        return new Uint8Array(count).fill(id >> 8, 0, -1).fill(id, -1)
      },
      pendingMs,
      isActive: ({ subject }) => this.active.get(subject) ?? true,
      record: (decision) =>
        this.#step(() => {
          if (!this.canRecord) return Promise.resolve(new Refusal('LEDGER_UNAVAILABLE', 'full'))
          this.recorded.push(decision)
          return Promise.resolve(null)
        }),
      notify: ({ id }) => this.notified.push(id),
      pause: () => setImmediate(),
    })
  }
}

/** The verdicts on record, the oldest first. */
function verdictsOf({ recorded }: World, id: string): readonly string[] {
  return recorded.filter((entry) => entry.id === id).map(({ verdict }) => verdict)
}

function refused(claimed: UsedApproval | Refusal): Refusal {
  if (!(claimed instanceof Refusal)) throw new Error(`${claimed.id} was used`)
  return claimed
}

async function pendingId(approvals: Approvals, asked = request()): Promise<string> {
  const refusal = refused(await approvals.claim(asked))
  expect(refusal.code).toBe('APPROVAL_PENDING')
  return refusal.approval?.id ?? ''
}

const approved = { verdict: 'approved', note: 'agreed' } as const
const denied = { verdict: 'denied', note: 'too much' } as const

describe('an approval of before a failover, which may have lost its use', () => {
  const approve = async (world: World): Promise<string> => {
    const id = await pendingId(world.open())
    await world.open().decide(id, alice, approved)
    return id
  }

  test('is not used: the action is asked for anew', async () => {
    const world = new World()
    const id = await approve(world)
    world.history = 'another'
    const next = await pendingId(world.open())
    expect(next).not.toBe(id)
    expect(await world.open().find(id)).toMatchObject({ state: 'approved', consumedBy: null })
    await world.open().decide(next, alice, approved)
    expect(await world.open().claim(request())).toMatchObject({ id: next })
  })

  test('is not used either where its use itself meets the failover', async () => {
    const world = new World()
    const id = await approve(world)
    const { put } = world.records
    world.records.put = (...args) => {
      world.history = 'another'
      return put(...args)
    }
    expect(await pendingId(world.open())).not.toBe(id)
  })
})

describe('a request for an approval', () => {
  test('is made once: each repeat receives the same id, with the end and when to ask again', async () => {
    const world = new World()
    const approvals = world.open()
    const first = refused(await approvals.claim(request()))
    const again = refused(await world.open().claim(request({ exchange: 'exc_2' })))
    expect(again.approval).toEqual(first.approval)
    expect(first).toMatchObject({ code: 'APPROVAL_PENDING', retryAfterMs: 5_000 })
    expect(first.approval?.expiresAt).toBe(1_000 + pendingMs)
    expect(await approvals.list()).toHaveLength(1)
    expect(world.notified).toEqual([first.approval?.id])
  })

  test('that several attempts make at once is one request', async () => {
    const world = new World()
    const approvals = world.open()
    const all = await Promise.all(Array.from({ length: 8 }, () => pendingId(approvals)))
    expect(new Set(all).size).toBe(1)
    expect(await approvals.list()).toHaveLength(1)
  })

  test('is one of each action, and another one if policy gives another reason', async () => {
    const approvals = new World().open()
    const ids = [
      await pendingId(approvals),
      await pendingId(approvals, request({ digest: digestOf('b') })),
      await pendingId(approvals, request({ reason: 'leaves the company' })),
    ]
    expect(new Set(ids).size).toBe(3)
  })

  test('is refused beyond the bounds, of one caller and of all', async () => {
    const world = new World()
    const approvals = world.open()
    let made = 0
    const ask = (caller: string, receiver = 'bank') => {
      const ends = { caller: principal(caller), receiver: principal(receiver) }
      return approvals.claim(request({ digest: digestOf(`${++made}`), ...ends }))
    }
    for (let i = 0; i < APPROVALS_PENDING_PER_CALLER_MAX; i++) await ask('buyer')
    expect(refused(await ask('buyer'))).toMatchObject({
      code: 'OVERLOADED',
      limit: expect.stringContaining('approvals.pendingPerCaller') as string,
    })
    expect(refused(await ask('other')).code).toBe('APPROVAL_PENDING')
    // A decided request makes room for another one.
    const [oldest] = await approvals.list()
    await approvals.decide(oldest?.id ?? '', alice, denied)
    expect(refused(await ask('buyer')).code).toBe('APPROVAL_PENDING')
    for (let i = 0; i < APPROVALS_PENDING_PER_RECEIVER_MAX; i++) await ask(`caller-${i}`)
    expect(refused(await ask('last')).limit).toMatch(/^approvals\.pendingPerReceiver,/)
    for (let i = 0; i < APPROVALS_PENDING_MAX; i++) {
      await ask(`other-${i}`, `agent-${i >> 7}`)
    }
    // The one that was denied is listed and does not wait.
    expect(await approvals.list()).toHaveLength(APPROVALS_PENDING_MAX + 1)
    expect(refused(await ask('last', 'last')).limit).toMatch(/^approvals\.pending,/)
    world.now += pendingMs
    expect(refused(await ask('last')).code).toBe('APPROVAL_PENDING')
  })
})

describe('a party that asks for many', () => {
  test('leaves as many places as it has, in all and at one receiver', async () => {
    const approvals = new World().open()
    let made = 0
    const ask = (caller: string, receiver: string, askedBy = caller) =>
      approvals.claim(
        request({
          ...{ digest: digestOf(`${++made}`), askedBy: principal(askedBy) },
          ...{ caller: principal(caller), receiver: principal(receiver) },
        }),
      )
    // A connector asks in the names of its callers.
    for (let i = 0; i < APPROVALS_PENDING_PER_RECEIVER_MAX; i++) {
      await ask(`caller-${i}`, 'hoarder', 'hoarder')
    }
    expect(await approvals.list()).toHaveLength(APPROVALS_PENDING_PER_RECEIVER_MAX / 2)
    expect(refused(await ask('buyer', 'hoarder')).code).toBe('APPROVAL_PENDING')
    for (let i = 0; i < APPROVALS_PENDING_MAX; i++) await ask('greedy', `agent-${i >> 5}`)
    const left = APPROVALS_PENDING_MAX - (await approvals.list()).length
    expect(left).toBeGreaterThan(APPROVALS_PENDING_MAX / 3)
    expect(refused(await ask('greedy', 'bank')).limit).toMatch(/^approvals\.pending,/)
    expect(refused(await ask('buyer', 'bank')).code).toBe('APPROVAL_PENDING')
  })
})

describe('a user on whose behalf a caller acts', () => {
  test('leaves as many places as it has to the other users of that caller', async () => {
    const approvals = new World().open()
    let made = 0
    const ask = (user: string) =>
      approvals.claim(request({ digest: digestOf(`${++made}`), user: principal(user, 'user') }))
    for (let i = 0; i < APPROVALS_PENDING_PER_CALLER_MAX; i++) await ask('eve')
    expect(await approvals.list()).toHaveLength(APPROVALS_PENDING_PER_CALLER_MAX / 2)
    expect(refused(await ask('eve')).limit).toMatch(/^approvals\.pendingPerCaller,/)
    expect(refused(await ask('ann')).code).toBe('APPROVAL_PENDING')
    for (let i = 0; i < APPROVALS_PENDING_PER_CALLER_MAX; i++) {
      await approvals.claim(request({ digest: digestOf(`${++made}`) }))
    }
    expect(await approvals.list()).toHaveLength(APPROVALS_PENDING_PER_CALLER_MAX)
  })
})

describe('a question', () => {
  const foreign = { issuer: 'other.test' }
  const changes: readonly Partial<ApprovalRequest>[] = [
    { caller: principal('other') },
    { caller: principal('buyer', 'user') },
    { caller: { ...principal('buyer'), ...foreign } },
    { user: principal('carol', 'user') },
    { receiver: principal('other') },
    { receiver: { ...principal('bank'), ...foreign } },
    { protocol: 'http' },
    { operation: 'GET' },
    { tool: 'refund' },
    { parameters: [] },
    { parameters: ['amount', 'to'] },
    { parameters: ['amount to'] },
    { operation: 'tools/call","pay', tool: '' },
    { reason: 'leaves the company' },
  ]

  test.each(changes)(
    'with one digest and %o is another one, whatever is decided',
    async (change) => {
      const world = new World()
      const approvals = world.open()
      const other = await pendingId(approvals, request(change))
      const id = await pendingId(approvals)
      expect(id).not.toBe(other)
      await approvals.decide(other, alice, denied)
      expect(await pendingId(approvals)).toBe(id)
      await approvals.decide(id, alice, approved)
      expect(refused(await approvals.claim(request(change))).approval?.id).toBe(other)
      expect(await approvals.claim(request())).toMatchObject({ id })
    },
  )

  test('whose row holds the answer to another one is not answered', async () => {
    const world = new World()
    const approvals = world.open()
    await approvals.decide(await pendingId(approvals), alice, approved)
    const [row] = (await world.records.added('approval', 0, 10)).filter(({ key }) =>
      key.startsWith('id'),
    )
    const { key, value, owner } = row ?? { key: '', value: '', owner: '' }
    const swapped = value.replace('"tool":"pay"', '"tool":"show"')
    expect(swapped).not.toBe(value)
    await world.records.put('approval', key, swapped, { owner, lifetimeMs: pendingMs })
    await expect(approvals.claim(request())).rejects.toThrow('of another question')
  })

  test('of a caller at one receiver does not push out those at another one', async () => {
    const world = new World()
    const approvals = world.open()
    await pendingId(approvals)
    await pendingId(approvals, request({ receiver: principal('other') }))
    const owners = (await world.records.added('approval', 0, 10)).map(({ owner }) => owner)
    expect(new Set(owners).size).toBe(2)
  })
})

describe('a decision', () => {
  test('is on record before it takes effect, with the digest and the approver', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    world.canRecord = false
    expect(await approvals.decide(id, alice, approved)).toMatchObject({
      code: 'LEDGER_UNAVAILABLE',
    })
    expect(refused(await approvals.claim(request())).code).toBe('APPROVAL_PENDING')
    world.canRecord = true
    expect(await approvals.decide(id, alice, approved)).toMatchObject({ taken: true })
    const entry = {
      ...{ id, digest: digestOf('a'), note: 'agreed' },
      ...{ approver: 'spiffe://fabric.test/user/alice', exchange: 'exc_approve' },
    }
    // The first one may be on record, whatever the ledger returned.
    expect(world.recorded).toEqual([
      { ...entry, verdict: 'withdrawn' },
      { ...entry, verdict: 'approved' },
    ])
  })

  test('of which the outcome is lost is withdrawn on record, by the next call at the latest', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    // The process ends between entry and effect.
    world.onStep(3, 'ends')
    await expect(approvals.decide(id, alice, approved)).rejects.toThrow('ended')
    expect(verdictsOf(world, id)).toEqual(['approved'])
    const other = { ...alice, caller: principal('bob', 'user'), exchange: 'exc_2' }
    expect(await world.open().decide(id, other, denied)).toMatchObject({ code: 'UNDECIDED' })
    expect(await pendingId(world.open())).toBe(id)
    expect(verdictsOf(world, id)).toEqual(['approved'])
    world.now += DECISION_MS
    expect(await pendingId(world.open())).toBe(id)
    expect(verdictsOf(world, id)).toEqual(['approved', 'withdrawn'])
    expect(await world.open().decide(id, other, denied)).toMatchObject({ taken: true })
    expect(refused(await world.open().claim(request())).code).toBe('APPROVAL_DENIED')
    expect(verdictsOf(world, id)).toEqual(['approved', 'withdrawn', 'denied'])
  })

  test('and its entries agree, whatever two approvers order at once and whichever step fails', async () => {
    const verdicts = fc.constantFrom(approved, denied)
    const faults = fc.constantFrom('ends', 'ends after it', 'is slow')
    const effects: Readonly<Record<string, readonly string[]>> = {
      used: ['approved'],
      APPROVAL_DENIED: ['denied'],
      APPROVAL_PENDING: [],
    }
    await fc.assert(
      fc.asyncProperty(verdicts, verdicts, fc.nat(12), faults, async (one, two, step, fault) => {
        const world = new World()
        const id = await pendingId(world.open())
        world.onStep(step, fault)
        const other = { ...alice, caller: principal('bob', 'user'), exchange: 'exc_2' }
        await Promise.allSettled([
          world.open().decide(id, alice, one),
          world.open().decide(id, other, two),
        ])
        world.onStep(0, null)
        world.now += DECISION_MS
        const claimed = await world.open().claim(request({ exchange: 'exc_3' }))
        const code = claimed instanceof Refusal ? claimed.code : 'used'
        const withdrawn = world.recorded.filter(({ verdict }) => verdict === 'withdrawn')
        const inEffect = world.recorded.filter(
          ({ exchange }) => !withdrawn.some((each) => each.exchange === exchange),
        )
        expect(inEffect.map(({ verdict }) => verdict)).toEqual(effects[code])
      }),
    )
  })

  test('is made once: the second of two finds the first', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    const both = await Promise.all([
      approvals.decide(id, alice, denied),
      world.open().decide(id, { ...alice, caller: principal('bob', 'user') }, approved),
    ])
    const taken = both.map((each) => 'taken' in each && each.taken)
    expect(taken.filter(Boolean)).toHaveLength(1)
    const states = both.map((each) => ('record' in each ? each.record.state : null))
    expect(new Set(states).size).toBe(1)
    // The log has no decision that did not take effect.
    expect(verdictsOf(world, id)).toEqual([...new Set(states)])
  })

  test.each([
    ['the caller itself', { caller: principal('buyer'), user: null }],
    ['a user of the caller’s name', { caller: principal('buyer', 'user'), user: null }],
    ['the user on whose behalf it acts', { caller: principal('carol', 'user'), user: null }],
    [
      'another agent of the same user',
      { caller: principal('helper'), user: principal('carol', 'user') },
    ],
    ['an agent on behalf of the caller', { caller: principal('helper'), user: principal('buyer') }],
  ])('of %s is refused, and changes nothing', async (_, approver) => {
    const world = new World()
    const approvals = world.open()
    const asked = request({ user: principal('carol', 'user') })
    const id = await pendingId(approvals, asked)
    expect(await approvals.decide(id, { ...approver, exchange: 'exc_2' }, approved)).toMatchObject({
      code: 'NOT_PERMITTED',
    })
    expect(world.recorded).toEqual([])
    expect(await pendingId(approvals, asked)).toBe(id)
  })

  test('of a principal of another issuer with the caller’s name is its own', async () => {
    const approvals = new World().open()
    const id = await pendingId(approvals)
    const foreign = { ...principal('buyer'), issuer: 'other.test' }
    const decided = await approvals.decide(id, { ...alice, caller: foreign }, approved)
    expect(decided).toMatchObject({ taken: true })
  })

  test('on what is unknown, malformed or over is refused', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    for (const each of ['', 'exc_1', `apr_${'0'.repeat(32)}`, `${id} `]) {
      expect(await approvals.decide(each, alice, approved)).toMatchObject({
        code: 'RECEIVER_UNKNOWN',
      })
    }
    world.now += pendingMs
    expect(await approvals.decide(id, alice, approved)).toMatchObject({ code: 'RECEIVER_UNKNOWN' })
  })
})

describe('an approval', () => {
  async function openApproved(world = new World()) {
    const approvals = world.open()
    const id = await pendingId(approvals)
    await approvals.decide(id, alice, approved)
    return { world, approvals, id }
  }

  test('is used once, by one of two racing repeats, whichever process they reach', async () => {
    const { world, approvals, id } = await openApproved()
    const both = await Promise.all([
      approvals.claim(request({ exchange: 'exc_2' })),
      world.open().claim(request({ exchange: 'exc_3' })),
    ])
    const used = both.filter((each) => !(each instanceof Refusal))
    expect(used).toEqual([
      { id, approver: 'spiffe://fabric.test/user/alice', digest: digestOf('a') },
    ])
    const [other] = both.filter((each) => each instanceof Refusal)
    expect(other?.code).toBe('APPROVAL_PENDING')
    expect(other?.approval?.id).not.toBe(id)
  })

  test('that is used up stays so after a restart, and a repeat asks for another one', async () => {
    const { world, approvals, id } = await openApproved()
    expect(await approvals.claim(request())).toMatchObject({ id })
    expect(await pendingId(world.open())).not.toBe(id)
  })

  test('is of its action alone', async () => {
    const { approvals, id } = await openApproved()
    const swapped = await pendingId(approvals, request({ digest: digestOf('b') }))
    expect(swapped).not.toBe(id)
    expect(await approvals.claim(request())).toMatchObject({ id })
  })

  test('is void if policy gives another reason by now, or its approver is not active', async () => {
    const { approvals } = await openApproved()
    await pendingId(approvals, request({ reason: 'leaves the company' }))
    const { world, approvals: others, id } = await openApproved()
    world.active.set('alice', false)
    expect(await pendingId(others)).not.toBe(id)
    // Restored, the approver has to decide anew.
    world.active.set('alice', true)
    expect(refused(await others.claim(request())).code).toBe('APPROVAL_PENDING')
  })

  test('is void if the user on whose behalf it was given is not active', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    const assistant = { ...alice, caller: principal('assistant'), user: principal('ann', 'user') }
    await approvals.decide(id, assistant, { verdict: 'approved', note: '' })
    world.active.set('ann', false)
    expect(await pendingId(approvals)).not.toBe(id)
  })

  test('lasts an hour from the decision at least, and ends', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    world.now += pendingMs - 1
    await approvals.decide(id, alice, approved)
    world.now += APPROVED_MS - 1
    expect(await approvals.claim(request())).toMatchObject({ id })
    const second = await pendingId(approvals)
    await approvals.decide(second, alice, approved)
    world.now += APPROVED_MS
    expect(await pendingId(approvals)).not.toBe(second)
  })

  test('that was denied refuses each repeat until the request would have ended', async () => {
    const world = new World()
    const approvals = world.open()
    const id = await pendingId(approvals)
    await approvals.decide(id, alice, denied)
    expect(refused(await approvals.claim(request()))).toMatchObject({
      code: 'APPROVAL_DENIED',
      approval: { id },
    })
    world.now += pendingMs
    expect(await pendingId(approvals)).not.toBe(id)
  })

  test('is proved by its id, digest, approver and exchange together', async () => {
    const { approvals } = await openApproved()
    const used = await approvals.claim(request({ exchange: 'exc_2' }))
    if (used instanceof Refusal) throw new Error(used.detail)
    const ends = { caller: agentId('buyer'), receiver: agentId('bank') }
    const whole = { ...used, ...ends, exchange: 'exc_2' }
    expect(await approvals.isUsedBy(whole)).toBe(true)
    const lies = [
      { exchange: 'exc_3' },
      { digest: digestOf('b') },
      { id: `apr_${'0'.repeat(12)}7${'0'.repeat(3)}8${'0'.repeat(15)}` },
      { approver: 'spiffe://fabric.test/user/bob' },
      { caller: agentId('other') },
      { receiver: agentId('other') },
    ]
    for (const each of lies) expect(await approvals.isUsedBy({ ...whole, ...each })).toBe(false)
  })

  test('never lets more exchanges through than were approved, in any order of steps', async () => {
    const steps = fc.array(fc.constantFrom('claim', 'approve', 'deny', 'wait'), { maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const world = new World()
        let [uses, decisions] = [0, 0]
        for (const step of taken) {
          const approvals = world.open()
          const [newest] = (await approvals.list()).toReversed()
          if (step === 'claim') {
            if (!((await approvals.claim(request())) instanceof Refusal)) uses++
          } else if (step === 'wait') world.now += pendingMs / 2
          else {
            const how = step === 'approve' ? approved : denied
            const decided = await approvals.decide(newest?.id ?? '', alice, how)
            if (how === approved && 'taken' in decided && decided.taken) decisions++
          }
          expect(uses).toBeLessThanOrEqual(decisions)
        }
      }),
    )
  })
})

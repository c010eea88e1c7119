import { meshFactsFault, parseUtf8, utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import {
  caller,
  delivered,
  deny,
  noObligations,
  permit,
  unchecked,
  PipelineWorld as World,
} from '../../../../test/harness/pipeline.ts'
import { agentKey } from '../../../../test/harness/principals.ts'
import { Refusal, StatedRefusal } from '../lib/refusal.ts'
import { type Forwarder, type LocalReceiver, type StreamEvent, withheld } from './delivery.ts'
import { enforce, type Outcome, type PipelineDeps } from './enforce.ts'
import { LoopShare } from './loop-share.ts'

function event(text: string): StreamEvent {
  return { data: utf8(text), contentType: 'text/plain', frame: [] }
}

/** A source that stays silent after its events until it is let go. */
function streamOf(...texts: readonly string[]) {
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  let ended = false
  async function* events(): AsyncGenerator<StreamEvent> {
    for (const text of texts) yield event(text)
    await held
  }
  const source = events()
  return {
    release,
    wasEnded: () => ended,
    body: {
      [Symbol.asyncIterator]: () => ({
        next: () => source.next(),
        return: () => {
          ended = true
          return Promise.resolve({ done: true as const, value: undefined })
        },
      }),
    },
  }
}

function eventsOf(outcome: Outcome) {
  if (outcome.refusal !== null || outcome.body instanceof Uint8Array) throw new Error('no stream')
  return outcome.body
}

describe('enforce', () => {
  test('the intent is durable before anything leaves, the outcome follows [record:intent-first]', async () => {
    const world = new World()
    const outcome = await world.enforce()
    expect(outcome.refusal).toBeNull()
    expect(world.events).toEqual(['intent', 'deliver card 4111', 'outcome'])
  })

  test('a refusal is on record before it is answered [record:refusals-too]', async () => {
    const world = new World()
    world.decision = deny
    expect((await world.enforce()).refusal?.code).toBe('NOT_PERMITTED')
    expect(world.events).toEqual(['refusal'])
    expect(world.entries[0]?.facts['code']).toBe('NOT_PERMITTED')
  })

  test('a receiver that checks the request itself does so before the intent [record:intent-first]', async () => {
    const world = new World()
    const check = (answer: () => Forwarder | Refusal): LocalReceiver => ({
      async check(inspected) {
        world.events.push(`check ${inspected.caller.name}`)
        return answer()
      },
    })
    const deps = world.deps()
    await enforce(
      deps,
      unchecked,
      check(() => world.forwarder),
    )
    expect(world.events).toEqual([`check ${caller.name}`, 'intent', 'deliver card 4111', 'outcome'])
    for (const [answer, code] of [
      [() => new Refusal('SIGNATURE_REJECTED', 'of another'), 'SIGNATURE_REJECTED'],
      [
        () => {
          throw new Error('broken')
        },
        'UNDECIDED',
      ],
    ] as const) {
      world.events.length = 0
      expect((await enforce(deps, unchecked, check(answer))).refusal?.code).toBe(code)
      expect(world.events).toEqual([`check ${caller.name}`, 'refusal'])
    }
  })

  test('without a credential a request gets no further [authenticate:someone]', async () => {
    const world = new World()
    world.identify = () => Promise.resolve(null)
    expect((await world.enforce()).refusal?.code).toBe('CREDENTIAL_MISSING')
    expect(world.events).toEqual(['refusal'])
  })

  test('credentials of two callers are both refused [authenticate:conflicting]', async () => {
    const world = new World()
    const deps = world.deps()
    const other = { ...caller, principal: agentKey('other'), name: 'other' }
    const authenticators = [() => Promise.resolve(caller), () => Promise.resolve(other)]
    const outcome = await enforce({ ...deps, authenticators }, unchecked, world.forwarder)
    expect(outcome.refusal?.code).toBe('CREDENTIALS_CONFLICTING')
  })

  test.each(['authenticator', 'policy', 'limits', 'redactor'] as const)(
    'a broken %s means no [operate:fail-closed]',
    async (part) => {
      const world = new World()
      const deps = world.deps()
      const broken = () => {
        throw new Error('broken')
      }
      const { authorization } = deps
      const replaced: PipelineDeps = {
        authenticator: { ...deps, authenticators: [broken] },
        policy: { ...deps, authorization: { ...authorization, policy: broken } },
        limits: { ...deps, authorization: { ...authorization, limits: { spend: broken } } },
        redactor: { ...deps, redactor: { redact: broken } },
      }[part]
      const outcome = await enforce(replaced, unchecked, world.forwarder)
      expect(outcome.refusal?.code).toBe('UNDECIDED')
      expect(world.events).toEqual(['refusal'])
    },
  )

  test('a ledger that cannot write delivers nothing and acknowledges nothing [record:ledger-failure]', async () => {
    const world = new World()
    world.ledgerFails = () => true
    await expect(world.enforce()).rejects.toThrow('disk full')
    expect(world.events).toEqual([])
  })

  test('administration, and nothing that only resembles it, may use what the ledger keeps for it [record:ledger-failure]', async () => {
    const admin = { kind: 'fabric', name: 'fabric', protocol: 'admin' } as const
    for (const [target, may] of [
      [{ ...admin, action: 'administer' }, 'administration'],
      // Reads stop long before what changes something: see ledger.freeBytesRead.
      [{ ...admin, action: 'read' }, 'oversight'],
      [{ ...admin, action: 'record' }, undefined],
      [{ action: 'administer' }, undefined],
      [{ action: 'read' }, undefined],
    ] as const) {
      const world = new World()
      await world.enforce({ ...unchecked, target: { ...unchecked.target, ...target } })
      expect(world.entries[0]?.purpose).toBe(may)
    }
  })

  test('an answer whose outcome cannot be recorded is withheld [record:ledger-failure]', async () => {
    const world = new World()
    world.ledgerFails = ({ kind }) => kind === 'outcome'
    expect((await world.enforce()).refusal?.code).toBe('OUTCOME_UNKNOWN')
    expect(world.events).toEqual(['intent', 'deliver card 4111'])
  })

  test('a right that ends while the intent is written sends nothing [authorize:every-delivery]', async () => {
    const world = new World()
    world.ledgerFails = ({ kind }) => {
      if (kind === 'intent') world.status = 'quarantined'
      return false
    }
    const { refusal } = await world.enforce()
    expect(refusal).toMatchObject({ code: 'WITHDRAWN', mayHaveActed: false })
    expect(world.events).toEqual(['intent', 'outcome'])
    expect(world.entries.at(-1)?.facts).toMatchObject({
      ...{ result: 'refused', code: 'WITHDRAWN', progress: 'not-sent' },
    })
  })

  test('a right that ends during delivery leaves the receiver as having acted [deliver:unknown-outcome]', async () => {
    const world = new World()
    const { refusal } = await enforce(world.deps(), unchecked, async (intended, still) => {
      const answer = await world.forwarder(intended, still)
      world.decision = deny
      return answer
    })
    expect(refusal).toMatchObject({ code: 'WITHDRAWN', mayHaveActed: true })
    expect(world.entries.at(-1)?.facts).toMatchObject({
      ...{ result: 'withheld', code: 'WITHDRAWN', progress: 'answered' },
    })
  })

  test('a withdrawal before delivery that cannot be recorded is not an unknown outcome [deliver:unknown-outcome]', async () => {
    const world = new World()
    world.ledgerFails = ({ kind }) => {
      world.status = 'quarantined'
      return kind === 'outcome'
    }
    await expect(world.enforce()).rejects.toThrow('disk full')
    expect(world.events).toEqual(['intent'])
  })

  test('a right that ends while the outcome is written gets no response [authorize:every-delivery]', async () => {
    const world = new World()
    let withheld = 0
    const handedOut = { ...delivered(utf8('ok')), withheld: async () => void (withheld += 1) }
    world.answer = handedOut
    world.ledgerFails = ({ kind }) => {
      if (kind === 'outcome') world.decision = deny
      return false
    }
    expect((await world.enforce()).refusal?.code).toBe('WITHDRAWN')
    expect(withheld).toBe(1)
    expect(world.events).toEqual(['intent', 'deliver card 4111', 'outcome', 'refusal'])
    const [, outcome, late] = world.entries
    expect(late?.exchange).not.toBe(outcome?.exchange)
    expect(String(late?.facts['private.detail'])).toContain(String(outcome?.exchange))
  })

  test('roles that were taken in the meantime no longer count [authorize:every-delivery]', async () => {
    const world = new World()
    const asked: (readonly string[])[] = []
    const deps = world.deps()
    const decide = ({
      principal,
    }: {
      readonly principal: { readonly roles: readonly string[] }
    }) => {
      asked.push(principal.roles)
      return principal.roles.includes('reader') ? permit : deny
    }
    const authorization = { ...deps.authorization, policy: () => ({ version: 'v', decide }) }
    const authenticators = [() => Promise.resolve({ ...caller, roles: ['reader'] })]
    const outcome = await enforce(
      { ...deps, authenticators, authorization },
      unchecked,
      world.forwarder,
    )
    expect(outcome.refusal?.code).toBe('WITHDRAWN')
    expect(asked).toEqual([['reader'], []])
    expect(world.events).toEqual(['intent', 'outcome'])
  })

  test('a delivery that breaks is recorded as indeterminate, never as refused', async () => {
    const world = new World()
    const broken: Forwarder = () => Promise.reject(new Error('reset by peer'))
    const outcome = await enforce(world.deps(), unchecked, broken)
    expect(outcome.refusal?.code).toBe('OUTCOME_UNKNOWN')
    expect(world.events).toEqual(['intent', 'indeterminate'])
    expect(world.entries.at(-1)?.facts).toMatchObject({ result: 'unknown', progress: 'sent' })
  })

  test('an answer that we have no space to inspect is not the fault of its sender', async () => {
    const inspected = { fields: [], frame: [], body: null, findings: [] }
    for (const [given, limit, told] of [
      ['OVERLOADED', null, 'OUTCOME_UNKNOWN'],
      ['UNDECIDED', null, 'OUTCOME_UNKNOWN'],
      ['OUTCOME_UNKNOWN', 'work.answerWaitMs, 1 min', 'OUTCOME_UNKNOWN'],
      ['MESSAGE_TOO_LARGE', 'work.bodyMs, 15 s', 'OUTCOME_UNKNOWN'],
      ['MESSAGE_TOO_LARGE', 'inspect.steps, 600000000', 'RESPONSE_REJECTED'],
    ] as const) {
      const facts = { limit }
      const world = new World()
      const deps: PipelineDeps = {
        ...world.deps(),
        largeBodies: {
          loop: new LoopShare(() => 0),
          inspect: async (_, __, { isAnswer }) =>
            isAnswer ? new Refusal(given, '', null, facts) : inspected,
        },
      }
      const large = utf8('x'.repeat(9_000))
      world.answer = delivered(large)
      const whole = await enforce(deps, unchecked, world.forwarder)
      expect(whole.refusal).toMatchObject({ code: told, mayHaveActed: true, ...facts })
      const isOurs = told === 'OUTCOME_UNKNOWN'
      const ending = isOurs ? { result: 'unknown', progress: 'sent' } : { result: 'withheld' }
      expect(world.entries.at(-1)?.facts).toMatchObject({ ...ending, code: told })
      world.answer = delivered(streamOf('x'.repeat(9_000)).body)
      const events = eventsOf(await enforce(deps, unchecked, world.forwarder))
      expect(await events.next()).toMatchObject({ done: true, value: { code: told, ...facts } })
      const result = isOurs ? 'broken' : 'cut'
      expect(world.entries.at(-1)?.facts).toMatchObject({ result, code: told })
    }
  })

  test('a stream whose event waits for a thread ends when its caller leaves or loses its right', async () => {
    for (const leaves of [true, false]) {
      const world = new World()
      const { promise: never } = Promise.withResolvers<never>()
      const largeBodies = { loop: new LoopShare(() => 0), inspect: () => never }
      const { body, wasEnded } = streamOf('x'.repeat(9_000))
      world.answer = delivered(body)
      const events = eventsOf(
        await enforce({ ...world.deps(), largeBodies }, unchecked, world.forwarder),
      )
      const next = events.next()
      await new Promise((resolve) => setImmediate(resolve))
      if (leaves) await events.abandon()
      world.status = 'revoked'
      world.change()
      expect(await next).toMatchObject({ value: leaves ? null : { code: 'WITHDRAWN' } })
      expect(wasEnded()).toBe(true)
      const result = leaves ? 'abandoned' : 'cut'
      expect(world.entries.at(-1)?.facts).toMatchObject({ result, events: 0 })
    }
  })

  test('an approval that is given lets the request through, and is a fact of its intent', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, approval: 'two people' } }
    const asked: object[] = []
    const approvals = {
      claim: (request: object) => {
        asked.push(request)
        return Promise.resolve({ id: 'apr_1', approver: 'spiffe://a.test/user/b', digest: 'ab' })
      },
    }
    const deps = { ...world.deps(), approvals }
    expect((await enforce(deps, unchecked, world.forwarder)).refusal).toBeNull()
    expect(world.events).toEqual(['intent', 'deliver card 4111', 'outcome'])
    const [intent] = world.entries
    expect(intent?.facts).toMatchObject({
      ...{ 'approval.id': 'apr_1', 'approval.approver': 'spiffe://a.test/user/b' },
      'approval.digest': Buffer.from([0xab]),
    })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({ reason: 'two people', exchange: unchecked.id })
  })

  test('a stream that began with an approval goes on, until another one is required', async () => {
    const world = new World()
    const obligations = (approval: string) => ({ ...noObligations, approval })
    world.decision = { ...permit, obligations: obligations('two people') }
    world.answer = delivered(streamOf('one', 'two', 'three').body)
    const approver = 'spiffe://a.test/user/b'
    const approvals = { claim: () => Promise.resolve({ id: 'apr_1', approver, digest: 'ab' }) }
    const deps = { ...world.deps(), approvals }
    const events = eventsOf(await enforce(deps, unchecked, world.forwarder))
    expect(await events.next()).toMatchObject({ done: false })
    expect(await events.next()).toMatchObject({ done: false })
    world.decision = { ...permit, obligations: obligations('the board') }
    expect(await events.next()).toMatchObject({
      value: { code: 'WITHDRAWN', reason: 'policy-tightened' },
    })
  })

  test('a pending approval is a refusal that names it, with the decision [authorize:approval]', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, approval: 'two people' } }
    const approval = { id: 'apr_1', digest: 'ab', expiresAt: 9 }
    const pending = new Refusal('APPROVAL_PENDING', 'waits', 5_000, { approval })
    const deps = { ...world.deps(), approvals: { claim: () => Promise.resolve(pending) } }
    const { refusal } = await enforce(deps, unchecked, world.forwarder)
    expect(refusal).toMatchObject({ code: 'APPROVAL_PENDING', retryAfterMs: 5_000, approval })
    expect(world.events).toEqual(['refusal'])
    expect(world.entries[0]?.facts).toMatchObject({ 'approval.id': 'apr_1', 'policy.rules': 'p' })
  })

  test('an approval that is obliged and absent stops the request [authorize:approval]', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, approval: 'two people' } }
    expect((await world.enforce()).refusal?.code).toBe('APPROVAL_REQUIRED')
    expect(world.events).toEqual(['refusal'])
  })

  test('request and response are masked alike [inspect:mask] [inspect:response]', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, mask: ['card'] } }
    const outcome = await world.enforce()
    expect(world.events[1]).toBe('deliver card [CARD]')
    const body = outcome.refusal === null ? outcome.body : null
    expect(body instanceof Uint8Array ? parseUtf8(body) : null).toBe('ok [CARD]')
  })

  test('values that policy let pass are counted for detection, and by no connector', async () => {
    const found = { dataClass: 'email', detector: 'email', path: 'text', start: 0, end: 4 } as const
    for (const [transport, facts] of [
      ['gateway', ['private.found', 'private.response-found']],
      ['mesh', []],
    ] as const) {
      const world = new World()
      const deps = world.deps()
      const findings = [{ ...found, operator: 'none' } as const]
      const redactor = { redact: (body: Uint8Array) => ({ body, findings }) }
      await enforce({ ...deps, redactor }, { ...unchecked, transport }, world.forwarder)
      const names = world.entries.flatMap((entry) => Object.keys(entry.facts))
      expect(names.filter((name) => name.endsWith('found'))).toEqual(facts)
      for (const { kind, facts: recorded } of world.entries) {
        if (kind !== 'outcome' || transport !== 'mesh') continue
        const stated = { ...recorded, transport: 'mesh', producer: 'spiffe://a.test/agent/b' }
        expect(meshFactsFault({ kind, facts: stated })).toBeNull()
      }
    }
  })

  test('an unsigned answer does not pass where policy wants a countersignature [countersign:required]', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, signedResponse: true } }
    expect((await world.enforce()).refusal?.code).toBe('COUNTERSIGNATURE_MISSING')
    expect(world.entries.at(-1)?.facts).toMatchObject({ result: 'withheld', progress: 'answered' })
  })

  test('a sealed message without the labels that policy asks for is refused [inspect:labels]', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, mask: ['card'] } }
    const target = { ...unchecked.target, protocol: 'queue' as const, kind: 'channel' as const }
    const bare = { ...unchecked, transport: 'queue' as const, target }
    expect((await world.enforce(bare)).refusal?.code).toBe('CONTENT_UNSUPPORTED')
    const labelled = { ...bare, target: { ...target, labels: ['no-card'] } }
    expect((await world.enforce(labelled)).refusal).toBeNull()
  })
})

describe('a stream', () => {
  test('passes event by event, each masked, and is hashed into the outcome [inspect:stream-events]', async () => {
    const world = new World()
    world.decision = { ...permit, obligations: { ...noObligations, mask: ['card'] } }
    const stream = streamOf('a 4111', 'b')
    world.answer = delivered(stream.body)
    const events = eventsOf(await world.enforce())
    const first = await events.next()
    expect(first.done ? null : parseUtf8(first.value.data)).toBe('a [CARD]')
    expect(world.events).toEqual(['intent', 'deliver card [CARD]'])
    await events.next()
    stream.release()
    expect(await events.next()).toEqual({ done: true, value: null })
    expect(world.entries.at(-1)?.facts).toMatchObject({ result: 'completed', events: 2 })
  })

  test.each([
    ['the caller is quarantined', (world: World) => void (world.status = 'quarantined')],
    ['nothing can be recorded', (world: World) => void (world.canRecord = false)],
    ['policy stops permitting it', (world: World) => void (world.decision = deny)],
    ['the credential runs out', (world: World) => void (world.now = 10_000)],
    [
      'policy requires more than it did',
      (world: World) =>
        void (world.decision = { ...permit, obligations: { ...noObligations, block: ['card'] } }),
    ],
  ])('is cut while it is silent when %s [revoke:live]', async (_, happens) => {
    const world = new World()
    const stream = streamOf('a')
    world.answer = delivered(stream.body)
    const events = eventsOf(await world.enforce())
    await events.next()
    const next = events.next()
    happens(world)
    world.change()
    const last = await next
    expect(last.done === true ? last.value?.code : null).toBe('WITHDRAWN')
    expect(world.entries.at(-1)?.facts).toMatchObject({ result: 'cut', code: 'WITHDRAWN' })
    expect(stream.wasEnded()).toBe(true)
  })

  test('an event that is ready together with the loss of active status does not pass [revoke:live]', async () => {
    const world = new World()
    world.answer = delivered(streamOf('a', 'b').body)
    const events = eventsOf(await world.enforce())
    await events.next()
    world.status = 'revoked'
    const last = await events.next()
    expect(last.done).toBe(true)
  })

  test('a caller that leaves ends the receiver’s side, and the outcome records it [deliver:cancel]', async () => {
    const world = new World()
    const stream = streamOf('a')
    world.answer = delivered(stream.body)
    const events = eventsOf(await world.enforce())
    await events.next()
    const pending = events.next()
    await events.abandon()
    expect((await pending).done).toBe(true)
    expect(world.entries.at(-1)?.facts['result']).toBe('abandoned')
    expect(stream.wasEnded()).toBe(true)
  })

  test('a caller that leaves before the first event is on record as well', async () => {
    const world = new World()
    world.answer = delivered(streamOf('a').body)
    await eventsOf(await world.enforce()).abandon()
    expect(world.entries.at(-1)?.facts['result']).toBe('abandoned')
  })

  test.each([
    ['ends whole', false],
    ['is left by its caller', true],
  ])(
    'that %s and whose outcome cannot be recorded does not end as if it were [record:ledger-failure]',
    async (_, isLeft) => {
      const world = new World()
      world.ledgerFails = ({ kind }) => kind === 'outcome'
      const stream = streamOf('a')
      world.answer = delivered(stream.body)
      const events = eventsOf(await world.enforce())
      await events.next()
      if (isLeft) {
        await events.abandon()
      } else {
        stream.release()
        const last = await events.next()
        expect(last.done === true ? last.value?.code : null).toBe('OUTCOME_UNKNOWN')
      }
      expect(world.events).toEqual(['intent', 'deliver card 4111'])
    },
  )
})

describe('a refusal that a receiver states', () => {
  const statedBy = 'spiffe://a.test/agent/shop'
  const states = (world: World, before: () => void = () => undefined) =>
    enforce(world.deps(), unchecked, async (intended, still) => {
      await world.forwarder(intended, still)
      before()
      return withheld(new StatedRefusal('RATE_LIMITED', 'x', { statedBy, limit: null }))
    })

  test('is on record as its word [deliver:unknown-outcome]', async () => {
    const world = new World()
    const { refusal } = await states(world)
    expect(refusal).toMatchObject({ code: 'RATE_LIMITED', mayHaveActed: true, statedBy })
    expect(world.entries.at(-1)).toMatchObject({
      ...{ kind: 'outcome', facts: { result: 'stated', code: 'RATE_LIMITED' } },
    })
  })

  test('comes after what is known here of the right to go on', async () => {
    const world = new World()
    const { refusal } = await states(world, () => void (world.status = 'quarantined'))
    expect(refusal).toMatchObject({ code: 'WITHDRAWN', mayHaveActed: true })
    expect(world.entries.at(-1)?.facts).toMatchObject({ result: 'withheld', code: 'WITHDRAWN' })
  })

  test('is unknown where it cannot be recorded [record:ledger-failure]', async () => {
    const world = new World()
    world.ledgerFails = ({ kind }) => kind === 'outcome'
    expect((await states(world)).refusal).toMatchObject({
      ...{ code: 'OUTCOME_UNKNOWN', mayHaveActed: true },
    })
  })
})

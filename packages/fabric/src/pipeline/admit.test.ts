import { endingFault, endingOf, utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import {
  caller,
  deny,
  noObligations,
  PipelineWorld,
  permit,
  unchecked,
} from '../../../../test/harness/pipeline.ts'
import { agentKey } from '../../../../test/harness/principals.ts'
import { Refusal } from '../lib/refusal.ts'
import { type AdmittedHead, admitHead, admitMessage } from './admit.ts'
import { conclude, needsAnswer } from './conclude.ts'
import { Unobserved } from './delivery.ts'

const head = {
  transport: 'gateway',
  presented: { certificateChain: [], bearer: null, apiKey: null },
} as const

async function admittedHead(world: PipelineWorld): Promise<AdmittedHead<null>> {
  const admitted = await admitHead(world.deps(), head, () => null)
  if (admitted instanceof Refusal) throw new Error(admitted.code)
  return admitted
}

describe('the head', () => {
  test('is admitted with what is reserved for its caller, and nothing is recorded', async () => {
    const world = new PipelineWorld()
    const reserve = ({ caller: { name } }: { caller: { name: string } }) => `share of ${name}`
    const admitted = await admitHead(world.deps(), head, reserve)
    expect(admitted).toMatchObject({ reserved: 'share of support', identified: { caller } })
    expect(world.events).toEqual([])
  })

  test('is refused when its caller is unknown, before anything is reserved', async () => {
    const world = new PipelineWorld()
    world.identify = () => Promise.resolve(null)
    const reserve = () => {
      throw new Error('reserved')
    }
    expect(await admitHead(world.deps(), head, reserve)).toMatchObject({
      code: 'CREDENTIAL_MISSING',
    })
  })

  test('is refused when nothing can be reserved', async () => {
    const full = new Refusal('OVERLOADED', 'full')
    expect(await admitHead(new PipelineWorld().deps(), head, () => full)).toBe(full)
  })

  test('is refused as undecided when its credential cannot be looked up', async () => {
    const world = new PipelineWorld()
    world.identify = () => Promise.reject(new Error('unreachable'))
    expect(await admitHead(world.deps(), head, () => null)).toMatchObject({ code: 'UNDECIDED' })
  })
})

describe('the first message', () => {
  test('is admitted with a durable intent, after the checks of its receiver', async () => {
    const world = new PipelineWorld()
    const { identified } = await admittedHead(world)
    const admitted = await admitMessage(world.deps(), identified, unchecked, () => {
      world.events.push('check')
      return 'checked'
    })
    expect(admitted).toMatchObject({ refusal: null, checked: 'checked' })
    expect(world.events).toEqual(['check', 'intent'])
  })

  test('is refused when its credential was revoked after the head [authenticate:someone]', async () => {
    const world = new PipelineWorld()
    const { identified } = await admittedHead(world)
    world.identify = () => Promise.resolve(new Refusal('AGENT_REVOKED', 'revoked'))
    const admitted = await admitMessage(world.deps(), identified, unchecked, () => null)
    expect(admitted).toMatchObject({ refusal: { code: 'AGENT_REVOKED' }, id: unchecked.id })
    expect(world.events).toEqual(['refusal'])
  })

  test('is refused when it names another caller than its head [authenticate:conflicting]', async () => {
    const world = new PipelineWorld()
    const { identified } = await admittedHead(world)
    const other = { ...caller, principal: agentKey('other'), name: 'other' }
    world.identify = () => Promise.resolve(other)
    const admitted = await admitMessage(world.deps(), identified, unchecked, () => null)
    expect(admitted.refusal?.code).toBe('CREDENTIALS_CONFLICTING')
    expect(world.events).toEqual(['refusal'])
  })

  test('is on record as refused for the fault with which it was decoded', async () => {
    const world = new PipelineWorld()
    const { identified } = await admittedHead(world)
    const fault = new Refusal('MESSAGE_MALFORMED', 'not JSON')
    const message = { ...unchecked, fault }
    const admitted = await admitMessage(world.deps(), identified, message, () => null)
    expect(admitted.refusal).toBe(fault)
    expect(world.entries[0]?.facts).toMatchObject({ caller: caller.principal })
  })
})

/**
 * Hands each permitted exchange over to another process, as `ext_authz` does: `passed` are those
 * that the other process may deliver.
 */
class HandingOver {
  readonly world = new PipelineWorld()
  readonly passed: string[] = []
  /** Runs when the intent is durable. */
  afterIntent: () => void = () => undefined

  async ask(): Promise<Refusal | null> {
    const deps = this.world.deps()
    const { identified } = await admittedHead(this.world)
    const admitted = await admitMessage(deps, identified, unchecked, (e) => needsAnswer(e) ?? e.id)
    if (admitted.refusal !== null) return admitted.refusal
    this.afterIntent()
    const { exchange } = admitted
    const { refusal } = await conclude(deps, exchange, new Unobserved({ 'proxy.kind': 'test' }))
    if (refusal === null) this.passed.push(exchange.id)
    return refusal
  }
}

describe('an exchange that is handed over', () => {
  test('is on record as unobserved before it leaves, neither delivered nor lost [receipt:whatever-is-recorded]', async () => {
    const adapter = new HandingOver()
    expect(await adapter.ask()).toBeNull()
    expect(adapter.passed).toEqual([unchecked.id])
    expect(adapter.world.events).toEqual(['intent', 'outcome'])
    const [, closing] = adapter.world.entries
    if (closing === undefined) throw new Error('not closed')
    const { kind, facts } = closing
    expect(endingOf(kind, facts)).toEqual({ result: 'unobserved', code: null })
    expect(endingFault(kind, facts)).toBeNull()
  })

  test('does not leave when policy denies it', async () => {
    const adapter = new HandingOver()
    adapter.world.decision = deny
    expect((await adapter.ask())?.code).toBe('NOT_PERMITTED')
    expect(adapter.passed).toEqual([])
    expect(adapter.world.events).toEqual(['refusal'])
  })

  test('does not leave when its right is lost while the intent becomes durable', async () => {
    const adapter = new HandingOver()
    adapter.afterIntent = () => {
      adapter.world.decision = deny
    }
    expect((await adapter.ask())?.mayHaveActed).toBe(false)
    expect(adapter.passed).toEqual([])
    expect(adapter.world.entries.map(({ facts }) => facts['result'])).toEqual([
      undefined,
      'refused',
    ])
  })

  test('does not leave when its right is lost while the outcome becomes durable', async () => {
    const adapter = new HandingOver()
    adapter.world.ledgerFails = ({ kind }) => {
      if (kind === 'outcome') adapter.world.status = 'quarantined'
      return false
    }
    expect((await adapter.ask())?.mayHaveActed).toBe(false)
    expect(adapter.passed).toEqual([])
    expect(adapter.world.events).toEqual(['intent', 'outcome', 'refusal'])
  })

  test('does not leave when its outcome cannot be recorded', async () => {
    const adapter = new HandingOver()
    adapter.world.ledgerFails = ({ kind }) => kind === 'outcome'
    await expect(adapter.ask()).rejects.toThrow('disk full')
    expect(adapter.passed).toEqual([])
  })

  test.each([{ mask: ['card'] }, { block: ['card'] }, { signedResponse: true }])(
    'does not leave when its response has obligations: %j',
    async (obligations) => {
      const adapter = new HandingOver()
      adapter.world.decision = { ...permit, obligations: { ...noObligations, ...obligations } }
      expect((await adapter.ask())?.code).toBe('CONTENT_UNSUPPORTED')
      expect(adapter.passed).toEqual([])
      expect(adapter.world.events).toEqual(['refusal'])
    },
  )

  test('does not leave when an adapter forgot to ask whether the response has obligations', async () => {
    const world = new PipelineWorld()
    const signed = { ...noObligations, signedResponse: true }
    world.decision = { ...permit, obligations: signed }
    const { identified } = await admittedHead(world)
    const message = { ...unchecked, received: { ...unchecked.received, body: utf8('{}') } }
    const admitted = await admitMessage(world.deps(), identified, message, () => null)
    if (admitted.refusal !== null) throw new Error(admitted.refusal.code)
    const { refusal } = await conclude(world.deps(), admitted.exchange, new Unobserved())
    expect(refusal?.code).toBe('CONTENT_UNSUPPORTED')
    expect(world.entries.at(-1)?.facts).toMatchObject({ result: 'refused' })
  })
})

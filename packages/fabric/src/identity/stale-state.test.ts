import { describe, expect, test, vi } from 'vitest'
import {
  chainOf,
  enrollAgent,
  enrollmentRequest,
  newAgentSecrets,
  openTestIdentity,
  renewalRequest,
  testPlace,
} from '../../../../test/contracts/identity-lab.ts'
import { cutOffState } from '../../../../test/harness/cut-off-state.ts'
import { memoryStateStore, StateMemory } from '../adapters/memory/state-store.ts'
import { identify } from '../pipeline/authenticate.ts'
import type { Presented } from './caller.ts'

/** No poll comes in between: the tests are about what a decision does by itself. */
const never = 2 ** 30
const pauseMs = 2_001
const nothing: Presented = { certificateChain: null, bearer: null, apiKey: null }

const headOf = (presented: Presented): Parameters<typeof identify>[0] => ({
  transport: 'gateway',
  presented,
})

/** A process whose network a test cuts, and another one that goes on. */
async function openTwo() {
  const memory = new StateMemory()
  const network = cutOffState(memoryStateStore(memory))
  const place = testPlace(async () => memoryStateStore(memory))
  const limits = { pollMs: never, readMs: 20 }
  const cut = await openTestIdentity(
    ...([
      undefined,
      undefined,
      { ...place, openStore: async () => network.store },
      limits,
    ] as const),
  )
  const other = await openTestIdentity(undefined, undefined, place)
  const alice = await enrollAgent(cut.identity, { name: 'alice', roles: ['writer'] })
  const { text: apiKey, key } = await cut.identity.apiKeys.create({ owner: 'alice', scopes: null })
  await other.state.refresh()
  const certificateChain = [...chainOf(alice.grant)]
  const ask = async (presented: Partial<Presented>) => {
    const { authenticators } = cut.identity
    const found = await identify(headOf({ ...nothing, ...presented }), { authenticators })
    return 'code' in found ? found.code : found.caller.name
  }
  return { network, cut, other, alice, apiKey, key, certificateChain, ask }
}

describe('a process that was paused', () => {
  test('refuses what was revoked meanwhile, by one read before the first decision', async () => {
    const { network, cut, other, ask, apiKey, key, certificateChain } = await openTwo()
    network.network = 'failing'
    await other.identity.apiKeys.remove(key.id)
    await other.identity.setStatus('alice', 'quarantined', 'odd')
    // It has received nothing, and does not know that there was something to receive.
    expect([await ask({ apiKey }), await ask({ certificateChain })]).toEqual(['alice', 'alice'])
    cut.clock.advance(pauseMs)
    network.network = 'up'
    expect(await ask({ apiKey })).toBe('CREDENTIAL_REJECTED')
    expect(await ask({ certificateChain })).toBe('AGENT_QUARANTINED')
  })
})

describe.for(['failing', 'hanging'] as const)('a process whose store is %s', (how) => {
  test('decides nothing by what it knew, and decides again afterwards', async () => {
    const { network, cut, ask, apiKey, certificateChain } = await openTwo()
    const stale = vi.fn<() => void>()
    cut.state.onStale(stale)
    network.network = how
    cut.clock.advance(pauseMs)
    expect(await ask({ apiKey })).toBe('UNDECIDED')
    expect(await ask({ certificateChain })).toBe('UNDECIDED')
    expect(stale).toHaveBeenCalled()
    network.network = 'up'
    expect([await ask({ apiKey }), await ask({ certificateChain })]).toEqual(['alice', 'alice'])
  })

  test('admits no agent, renews no certificate, answers no request for a token', async () => {
    const { network, cut, alice, certificateChain } = await openTwo()
    const { identity } = cut
    const { text } = await identity.joinTokens.create({ name: 'bob' })
    const join = await enrollmentRequest(text, newAgentSecrets())
    const presented = { ...nothing, certificateChain }
    const caller = await identity.authenticatorOf('certificate')(presented)
    const fingerprint = caller !== null && 'credentialId' in caller ? caller.credentialId : ''
    const renewal = renewalRequest(fingerprint, alice.secrets.tls)
    network.network = how
    cut.clock.advance(pauseMs)
    expect(await identity.enrollment.enroll(join)).toMatchObject({ code: 'UNDECIDED' })
    expect(await identity.renew(presented, renewal)).toMatchObject({ code: 'UNDECIDED' })
    await expect(identity.setStatus('alice', 'revoked', 'odd')).rejects.toThrow('too long')
    await expect(identity.handleTokens({} as never, {} as never, {} as never)).rejects.toThrow(
      'too long',
    )
    network.network = 'up'
    expect(await identity.renew(presented, renewal)).toMatchObject({ name: 'alice' })
    expect(await identity.enrollment.enroll(join)).toMatchObject({ name: 'bob' })
  })
})

test('an agent that enrolled in another process a moment ago is known at its first call', async () => {
  const { network, cut, other, ask } = await openTwo()
  network.network = 'failing'
  const { grant } = await enrollAgent(other.identity, { name: 'carol' })
  network.network = 'up'
  expect(cut.identity.directory.find('carol')).toBeNull()
  expect(await ask({ certificateChain: [...chainOf(grant)] })).toBe('carol')
})

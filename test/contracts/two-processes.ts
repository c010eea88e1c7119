import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Identity } from '../../packages/fabric/src/identity/identity.ts'
import { Refusal } from '../../packages/fabric/src/lib/refusal.ts'
import { deadline } from '../harness/deadline.ts'
import {
  type AgentSecrets,
  chainOf,
  enrollAgent,
  enrollmentRequest,
  newAgentSecrets,
  openTestIdentity,
  type TestPlace,
} from './identity-lab.ts'

const identify = (identity: Identity, presented: { apiKey?: string; chain?: Uint8Array[] }) => {
  const { apiKey = null, chain = null } = presented
  const by = identity.authenticatorOf(apiKey === null ? 'certificate' : 'api-key')
  return by({ certificateChain: chain, bearer: null, apiKey })
}

async function enrollWith(identity: Identity, text: string, secrets: AgentSecrets) {
  const grant = await identity.enrollment.enroll(await enrollmentRequest(text, secrets))
  return grant instanceof Refusal ? grant.code : grant
}

/**
 * The contract between two processes of one fabric, which share their state and their keys by the
 * engine that `make` opens. Each process opens it for itself.
 */
export function twoProcessesContract(engine: string, make: () => Promise<TestPlace>): void {
  const closers: (() => Promise<unknown>)[] = []
  const openTwo = async () => {
    const place = await make()
    const open = async () => {
      const opened = await openTestIdentity(undefined, undefined, place)
      closers.push(async () => {
        opened.identity.close()
        await opened.state.close()
      })
      return opened
    }
    return [await open(), await open()] as const
  }
  const closeAll = async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  }

  describe(`one process on ${engine} knows what another one decided`, () => {
    afterEach(closeAll)
    test('an agent that is quarantined there is refused here, and its streams are asked again', async () => {
      const [one, two] = await openTwo()
      const { grant } = await enrollAgent(one.identity, { name: 'alice' })
      const chain = [...chainOf(grant)]
      await expect
        .poll(() => identify(two.identity, { chain }), deadline)
        .toMatchObject({ name: 'alice' })
      const changed = vi.fn<() => void>()
      two.identity.directory.onChange(changed)
      await one.identity.setStatus('alice', 'quarantined', 'odd')
      await expect
        .poll(() => identify(two.identity, { chain }), deadline)
        .toMatchObject({ code: 'AGENT_QUARANTINED' })
      expect(changed).toHaveBeenCalledOnce()
      // The record that the other process changed can be written here.
      expect(await two.identity.setStatus('alice', 'active', '')).toMatchObject({
        status: 'active',
      })
    })

    test('an API key that is removed there opens nothing here', async () => {
      const [one, two] = await openTwo()
      await enrollAgent(one.identity, { name: 'alice' })
      await two.state.refresh()
      const { text: apiKey, key } = await two.identity.apiKeys.create({
        owner: 'alice',
        scopes: null,
      })
      const removed = vi.fn<() => void>()
      two.identity.apiKeys.onRemove(removed)
      await expect.poll(() => one.identity.apiKeys.stands(key.id), deadline).toBe(true)
      expect(await one.identity.apiKeys.remove(key.id)).toBe(true)
      await expect
        .poll(() => identify(two.identity, { apiKey }), deadline)
        .toMatchObject({ code: 'CREDENTIAL_REJECTED' })
      expect(two.identity.apiKeys.stands(key.id)).toBe(false)
      expect(removed).toHaveBeenCalledOnce()
      expect(await two.identity.apiKeys.remove(key.id)).toBe(false)
    })

    test('an agent that enrols again there has lost its earlier certificate here', async () => {
      const [one, two] = await openTwo()
      const { grant } = await enrollAgent(one.identity, { name: 'alice' })
      await two.state.refresh()
      const again = vi.fn<(name: string) => void>()
      two.identity.onEnrolledAgain(again)
      await enrollAgent(one.identity, { name: 'alice' })
      await vi.waitFor(() => expect(again).toHaveBeenCalledExactlyOnceWith('alice'), deadline)
      expect(await identify(two.identity, { chain: [...chainOf(grant)] })).toMatchObject({
        code: 'CREDENTIAL_REJECTED',
      })
    })
  })

  describe(`of two processes on ${engine} that decide at once`, () => {
    afterEach(closeAll)
    test('one uses a join token, and the agent has its keys alone', async () => {
      const [one, two] = await openTwo()
      const { text } = await one.identity.joinTokens.create({ name: 'alice' })
      await two.state.refresh()
      const answers = await Promise.all(
        [one, two].map(({ identity }) => enrollWith(identity, text, newAgentSecrets())),
      )
      const [grant, ...others] = answers.filter((answer) => typeof answer !== 'string')
      expect(others).toEqual([])
      expect(answers).toContain('CREDENTIAL_SPENT')
      await Promise.all([one.state.refresh(), two.state.refresh()])
      for (const { identity } of [one, two]) {
        expect(identity.directory.find('alice')?.keys?.signing.keyId).toBe(grant?.signingKeyId)
      }
    })

    test('the last one that makes a join token for an agent counts', async () => {
      const [one, two] = await openTwo()
      const made = await Promise.all([
        one.identity.joinTokens.create({ name: 'alice', roles: ['a'] }),
        two.identity.joinTokens.create({ name: 'alice', roles: ['b'] }),
      ])
      await one.state.refresh()
      const good = one.identity.joinTokens.list().filter(({ ended }) => ended === undefined)
      expect(good).toHaveLength(1)
      const codes = []
      for (const { text } of made)
        codes.push(await enrollWith(one.identity, text, newAgentSecrets()))
      expect(codes.filter((code) => code === 'CREDENTIAL_REJECTED')).toHaveLength(1)
    })

    test('a quarantine ends the join token that the other one had just made', async () => {
      const [one, two] = await openTwo()
      await enrollAgent(one.identity, { name: 'alice' })
      await two.state.refresh()
      const { token } = await two.identity.joinTokens.create({ name: 'alice' })
      // This one may not have read it yet.
      await one.identity.setStatus('alice', 'quarantined', 'odd')
      await one.state.refresh()
      const ended = one.identity.joinTokens.list().find(({ id }) => id === token.id)?.ended
      expect(ended).toContain('was quarantined')
    })

    test('one has removed an API key, and neither has it any more', async () => {
      const [one, two] = await openTwo()
      await enrollAgent(one.identity, { name: 'alice' })
      const { key } = await one.identity.apiKeys.create({ owner: 'alice', scopes: null })
      await two.state.refresh()
      const removed = [one, two].map(({ identity }) => identity.apiKeys.remove(key.id))
      expect((await Promise.all(removed)).filter(Boolean)).toHaveLength(1)
      await Promise.all([one.state.refresh(), two.state.refresh()])
      for (const { identity } of [one, two]) expect(identity.apiKeys.list()).toEqual([])
    })
  })
}

import { expect, test } from 'vitest'
import { agentRecord, putRecord } from '../../../../test/contracts/directory.ts'
import {
  enrollAgent,
  openState,
  openTestIdentity,
} from '../../../../test/contracts/identity-lab.ts'
import { rowsOf } from '../../../../test/contracts/state-rows.ts'
import { createApiKeys } from './api-keys.ts'
import type { Presented } from './caller.ts'

const nothing: Presented = { certificateChain: null, bearer: null, apiKey: null }

async function open() {
  const deps = await openTestIdentity()
  await enrollAgent(deps.identity, { name: 'alice', roles: ['writer'] })
  const byApiKey = deps.identity.authenticatorOf('api-key')
  const made = await deps.identity.apiKeys.create({
    owner: 'alice',
    scopes: ['bob'],
    ttlMs: 60_000,
  })
  return { ...deps, byApiKey, ...made }
}

test('a key proves its owner, within its scopes, in either place', async () => {
  const { byApiKey, text, key } = await open()
  expect(text).toMatch(/^csk_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}$/)
  const caller = {
    name: 'alice',
    method: 'api-key',
    scopes: ['bob'],
    credentialId: key.id,
    roles: ['writer'],
    expiresAt: key.expiresAt,
  }
  expect(await byApiKey({ ...nothing, apiKey: text })).toMatchObject(caller)
  expect(await byApiKey({ ...nothing, bearer: text })).toMatchObject(caller)
  expect(await byApiKey(nothing)).toBeNull()
  expect(await byApiKey({ ...nothing, bearer: 'ey.ey.x' })).toBeNull()
})

test('a key with another secret, an unknown key, or a key next to another one is refused', async () => {
  const { byApiKey, text, identity } = await open()
  const other = await identity.apiKeys.create({ owner: 'alice', scopes: null })
  const mixed = `${text.slice(0, 13)}${other.text.slice(13)}`
  for (const apiKey of [mixed, 'csk_x', '', `${text} `, text.slice(4)]) {
    expect(await byApiKey({ ...nothing, apiKey })).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
  }
  expect(await byApiKey({ ...nothing, apiKey: text, bearer: other.text })).toMatchObject({
    code: 'CREDENTIALS_CONFLICTING',
  })
})

test('a key ends with its time, with its removal and with the active status of its owner', async () => {
  const { byApiKey, text, key, identity, clock, store } = await open()
  await identity.setStatus('alice', 'quarantined', 'odd')
  expect(await byApiKey({ ...nothing, apiKey: text })).toMatchObject({ code: 'AGENT_QUARANTINED' })
  await identity.setStatus('alice', 'active', '')
  clock.advance(60_001)
  expect(await byApiKey({ ...nothing, apiKey: text })).toMatchObject({ code: 'CREDENTIAL_EXPIRED' })
  expect(await identity.apiKeys.remove(key.id)).toBe(true)
  expect(await byApiKey({ ...nothing, apiKey: text })).toMatchObject({
    code: 'CREDENTIAL_REJECTED',
  })
  expect(await rowsOf(store, 'api-keys')).toEqual([])
})

test('the store holds a hash, and it is enough after a restart', async () => {
  const { text, key, identity, clock, store } = await open()
  expect(JSON.stringify(await rowsOf(store, 'api-keys'))).not.toContain(text.slice(13))
  const reopened = createApiKeys({
    ...{ stream: await openState(store), directory: identity.directory, clock },
    random: () => new Uint8Array(),
  })
  expect(reopened.find(text)).toEqual(key)
  expect(reopened.list()).toEqual([key])
})

test('a key without an owner is not made', async () => {
  const { identity } = await open()
  await expect(identity.apiKeys.create({ owner: 'eve', scopes: null })).rejects.toThrow(TypeError)
})

test('a key that is made while its holder enrols takes no enrolment back', async () => {
  const { identity } = await openTestIdentity()
  const { directory, admitKeyHolder } = identity
  const enrolled = putRecord(directory, agentRecord('mallory', { generation: 1 }))
  await admitKeyHolder('mallory')
  await enrolled
  expect(directory.find('mallory')).toEqual(agentRecord('mallory', { generation: 1 }))
  await admitKeyHolder('keyed')
  expect(directory.find('keyed')).toMatchObject({ keys: null, generation: 0, roles: [] })
})

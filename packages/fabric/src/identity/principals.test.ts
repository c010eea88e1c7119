import { describe, expect, test } from 'vitest'
import { agentRecord } from '../../../../test/contracts/directory.ts'
import type { AgentRecord } from './directory.ts'
import { findAgent, findPrincipal, nameOfPrincipal, principalOfRecord } from './principals.ts'

const foreign = 'https://login.example.com#user/bob'

function directoryOf(...records: readonly AgentRecord[]) {
  const byName = new Map(records.map((record) => [record.name, record]))
  return { find: (name: string) => byName.get(name) ?? null }
}

describe('the name of a principal', () => {
  test('is bare within the trust domain only', () => {
    expect(nameOfPrincipal('spiffe://a.test/agent/bob', 'a.test')).toBe('bob')
    expect(nameOfPrincipal('spiffe://a.test/user/bob', 'a.test')).toBe('bob')
    for (const other of ['spiffe://b.test/agent/bob', 'spiffe://a.test.b/agent/bob', foreign]) {
      expect(nameOfPrincipal(other as typeof foreign, 'a.test')).toBe(other)
    }
  })
})

describe('a record', () => {
  const bob = agentRecord('bob')
  const alice = agentRecord('alice', { kind: 'user' })
  const outside = { ...agentRecord('bob', { kind: 'user' }), name: foreign }
  const directory = directoryOf(bob, alice, outside)

  test('is that of one principal, and of no other with its name', () => {
    expect(findPrincipal(directory, 'spiffe://a.test/agent/bob', 'a.test')).toBe(bob)
    expect(findPrincipal(directory, 'spiffe://a.test/user/bob', 'a.test')).toBeNull()
    expect(findPrincipal(directory, 'spiffe://b.test/agent/bob', 'a.test')).toBeNull()
    expect(findPrincipal(directory, foreign, 'a.test')).toBe(outside)
    expect(findPrincipal(directory, `${foreign}2`, 'a.test')).toBeNull()
  })

  test('has the canonical form of its principal', () => {
    expect(principalOfRecord(alice, 'a.test')).toBe('spiffe://a.test/user/alice')
    expect(principalOfRecord(outside, 'a.test')).toBe(foreign)
  })

  test('of a user does not describe an agent', () => {
    expect(findAgent(directory, 'bob')).toBe(bob)
    expect(findAgent(directory, 'alice')).toBeNull()
  })
})

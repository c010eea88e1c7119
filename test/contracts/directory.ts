import { describe, expect, test } from 'vitest'
import type { AgentRecord } from '../../packages/fabric/src/identity/directory.ts'
import type { JointChanges } from '../../packages/fabric/src/identity/joint-changes.ts'
import { openDirectory } from '../../packages/fabric/src/identity/stored-directory.ts'
import type { StateStore } from '../../packages/fabric/src/state/state-store.ts'

/** A record that is complete and plausible. */
export function agentRecord(name: string, changes: Partial<AgentRecord> = {}): AgentRecord {
  return {
    name,
    kind: 'agent',
    roles: ['researcher'],
    segment: 'lab',
    attributes: { team: 'blue', level: 3, trusted: true },
    status: 'active',
    statusReason: '',
    keys: null,
    createdAt: 1_700_000_000_000,
    generation: 0,
    ...changes,
  }
}

function keysOf(seed: number): NonNullable<AgentRecord['keys']> {
  const publicKey = new Uint8Array(32).fill(seed)
  return {
    signing: { keyId: `signing-${seed}`, publicKey },
    sealing: { keyId: `sealing-${seed}`, publicKey },
  }
}

/** The contract of the directory, on any store. */
export function directoryContract(engine: string, openStore: () => Promise<StateStore>): void {
  describe(`directory on ${engine}`, () => {
    test('finds a record by name and by signing key once it is durable, and not before', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      const record = agentRecord('alice', { keys: keysOf(1) })
      const write = directory.put(record)
      expect(directory.find('alice')).toBeNull()
      await write
      expect(directory.find('alice')).toEqual(record)
      expect(directory.findBySigningKey('signing-1')).toEqual(record)
      expect(directory.findBySigningKey('sealing-1')).toBeNull()
      expect(directory.list()).toEqual([record])
      await store.close()
    })

    test('forgets a key that was replaced', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      await directory.put(agentRecord('alice', { keys: keysOf(1) }))
      await directory.put(agentRecord('alice', { keys: keysOf(2) }))
      expect(directory.findBySigningKey('signing-1')).toBeNull()
      expect(directory.findBySigningKey('signing-2')?.name).toBe('alice')
      await store.close()
    })

    test('commits other changes with a record, or in the turn of records, or not at all', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      const applied: string[] = []
      const setting = (key: string, expected: { expected?: null } = {}): JointChanges => ({
        changes: [{ table: 'settings', key, value: 'x', ...expected }],
        applied: () => void applied.push(`${key} ${directory.find('alice')?.generation ?? 'none'}`),
      })
      const enrol = (generation: number, make: () => JointChanges) =>
        directory.updateTogether('alice', () => agentRecord('alice', { generation }), make)
      const all = await Promise.all([
        enrol(1, () => setting('a')),
        directory.commit(() => {
          expect(directory.find('alice')?.generation).toBe(1)
          return setting('b')
        }),
        enrol(2, () => setting('b', { expected: null })),
        directory.commit(() => setting('a', { expected: null })),
      ])
      expect(all).toEqual([true, true, false, false])
      expect(applied).toEqual(['a none', 'b 1'])
      expect(directory.find('alice')?.generation).toBe(1)
      await store.close()
    })

    test('gives no key two owners', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      await directory.put(agentRecord('alice', { keys: keysOf(1) }))
      await expect(directory.put(agentRecord('bob', { keys: keysOf(1) }))).rejects.toThrow('alice')
      expect(directory.find('bob')).toBeNull()
      await store.close()
    })

    test('notifies listeners of every change, in order, until they stop', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      const heard: string[] = []
      const stop = directory.onChange(({ name, status }) => heard.push(`${name} ${status}`))
      await Promise.all([
        directory.put(agentRecord('alice')),
        directory.put(agentRecord('bob')),
        directory.put(agentRecord('alice', { status: 'quarantined', statusReason: 'odd' })),
      ])
      stop()
      await directory.put(agentRecord('carol'))
      expect(heard).toEqual(['alice active', 'bob active', 'alice quarantined'])
      await store.close()
    })

    test('applies racing updates one after the other: none is lost', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      await directory.put(agentRecord('alice', { roles: [] }))
      await Promise.all(
        ['a', 'b', 'c', 'd'].map((role) =>
          directory.update('alice', (present) =>
            present === null ? null : { ...present, roles: [...present.roles, role] },
          ),
        ),
      )
      expect(directory.find('alice')?.roles).toEqual(['a', 'b', 'c', 'd'])
      await store.close()
    })

    test('lets no second process overwrite what it has not seen', async () => {
      const store = await openStore()
      const one = await openDirectory(store)
      await one.put(agentRecord('alice'))
      const two = await openDirectory(store)
      await one.put(agentRecord('alice', { status: 'revoked', statusReason: 'stolen' }))
      await expect(two.put(agentRecord('alice', { roles: ['admin'] }))).rejects.toThrow('moved on')
      expect((await openDirectory(store)).find('alice')?.status).toBe('revoked')
      await store.close()
    })

    test('keeps its own copy of what it was given', async () => {
      const store = await openStore()
      const directory = await openDirectory(store)
      const keys = keysOf(7)
      await directory.put(agentRecord('alice', { keys }))
      keys.signing.publicKey.fill(0)
      expect(directory.find('alice')?.keys?.signing.publicKey[0]).toBe(7)
      await store.close()
    })

    test('refuses to open over a record that makes no sense', async () => {
      const store = await openStore()
      await store.commit([{ table: 'agents', key: 'alice', value: '{"name":"alice"}' }])
      await expect(openDirectory(store)).rejects.toThrow()
      await store.close()
    })
  })
}

import { afterEach, describe, expect, test, vi } from 'vitest'
import type { AgentRecord } from '../../packages/fabric/src/identity/directory.ts'
import { createGuards } from '../../packages/fabric/src/identity/guards.ts'
import {
  createDirectory,
  type StoredDirectory,
} from '../../packages/fabric/src/identity/stored-directory.ts'
import { type StateChange, stateHistoryRows } from '../../packages/fabric/src/state/state-store.ts'
import type { StateStream } from '../../packages/fabric/src/state/state-stream.ts'
import { deadline } from '../harness/deadline.ts'
import { openState } from './identity-lab.ts'
import type { MakeState, OpenState } from './state-store.ts'

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

/** Creates or replaces a record. */
export async function putRecord(directory: StoredDirectory, record: AgentRecord): Promise<void> {
  await directory.update(record.name, () => record)
}

/** The contract of the directory, on any store. Each opening is another process. */
export function directoryContract(engine: string, make: MakeState): void {
  describe(`directory on ${engine}`, () => {
    const opened: StateStream[] = []
    const openWith = async (open: OpenState) => {
      const stream = await openState(await open())
      opened.push(stream)
      return { stream, directory: createDirectory(stream, createGuards(stream)) }
    }
    const openOne = async () => openWith(await make(stateHistoryRows))
    const openTwo = async () => {
      const open = await make(stateHistoryRows)
      return [await openWith(open), await openWith(open)] as const
    }
    afterEach(async () => {
      for (const stream of opened.splice(0)) await stream.close()
    })

    test('finds a record by name and by signing key once it is durable, and not before', async () => {
      const { directory } = await openOne()
      const record = agentRecord('alice', { keys: keysOf(1) })
      const write = putRecord(directory, record)
      expect(directory.find('alice')).toBeNull()
      await write
      expect(directory.find('alice')).toEqual(record)
      expect(directory.findBySigningKey('signing-1')).toEqual(record)
      expect(directory.findBySigningKey('sealing-1')).toBeNull()
      expect(directory.list()).toEqual([record])
    })

    test('forgets a key that was replaced, which another agent may then have', async () => {
      const { directory } = await openOne()
      await putRecord(directory, agentRecord('alice', { keys: keysOf(1) }))
      await putRecord(directory, agentRecord('alice', { keys: keysOf(2) }))
      expect(directory.findBySigningKey('signing-1')).toBeNull()
      expect(directory.findBySigningKey('signing-2')?.name).toBe('alice')
      await putRecord(directory, agentRecord('bob', { keys: keysOf(1) }))
      expect(directory.findBySigningKey('signing-1')?.name).toBe('bob')
    })

    test('commits other changes with a record, in turn, or not at all', async () => {
      const { directory, stream } = await openOne()
      const setting = (key: string): StateChange => ({ table: 'settings', key, value: 'x' })
      const seen: unknown[] = []
      const enrol = (generation: number, make: () => readonly StateChange[] | null) =>
        directory.updateTogether(
          'alice',
          () => agentRecord('alice', { generation }),
          async () => {
            seen.push(directory.find('alice')?.generation ?? null)
            return Promise.resolve(make())
          },
        )
      const all = await Promise.all([
        enrol(1, () => [setting('a')]),
        stream.commit(() => {
          seen.push(directory.find('alice')?.generation)
          return [setting('b')]
        }),
        enrol(2, () => null),
        directory.updateTogether(
          'alice',
          () => null,
          () => [setting('c')],
        ),
      ])
      expect(all).toEqual([true, true, false, false])
      expect(seen).toEqual([null, 1, 1])
      expect(directory.find('alice')?.generation).toBe(1)
    })

    test('gives no key two owners', async () => {
      const { directory } = await openOne()
      await putRecord(directory, agentRecord('alice', { keys: keysOf(1) }))
      const bob = agentRecord('bob', { keys: keysOf(1) })
      await expect(putRecord(directory, bob)).rejects.toThrow('alice')
      expect(directory.find('bob')).toBeNull()
    })

    test('gives no key two owners when two processes write at once', async () => {
      const [one, two] = await openTwo()
      const outcomes = await Promise.allSettled([
        putRecord(one.directory, agentRecord('alice', { keys: keysOf(1) })),
        putRecord(two.directory, agentRecord('bob', { keys: keysOf(1) })),
      ])
      expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
      await one.stream.refresh()
      expect(one.directory.list()).toHaveLength(1)
    })

    test('notifies listeners of every change, in order, until they stop', async () => {
      const { directory } = await openOne()
      const heard: string[] = []
      const stop = directory.onChange(({ name, status }) => heard.push(`${name} ${status}`))
      await Promise.all([
        putRecord(directory, agentRecord('alice')),
        putRecord(directory, agentRecord('bob')),
        putRecord(directory, agentRecord('alice', { status: 'quarantined', statusReason: 'odd' })),
      ])
      stop()
      await putRecord(directory, agentRecord('carol'))
      expect(heard).toEqual(['alice active', 'bob active', 'alice quarantined'])
    })

    test('notifies listeners of changes of another process, and of agents that enrol again', async () => {
      const [one, two] = await openTwo()
      const heard: string[] = []
      two.directory.onChange(({ name, status }) => heard.push(`${name} ${status}`))
      two.directory.onEnrolledAgain((name) => heard.push(`${name} again`))
      await putRecord(one.directory, agentRecord('alice', { generation: 1 }))
      await putRecord(one.directory, agentRecord('alice', { generation: 2 }))
      const quarantined = { status: 'quarantined', generation: 2 } as const
      await putRecord(one.directory, agentRecord('alice', quarantined))
      await vi.waitFor(() => expect(heard).toHaveLength(4), deadline)
      expect(heard).toEqual(['alice active', 'alice active', 'alice again', 'alice quarantined'])
      expect(two.directory.find('alice')).toEqual(one.directory.find('alice'))
    })

    test('applies racing updates one after the other, of two processes: none is lost', async () => {
      const [one, two] = await openTwo()
      await putRecord(one.directory, agentRecord('alice', { roles: [] }))
      await two.stream.refresh()
      await Promise.all(
        ['a', 'b', 'c', 'd'].map((role, at) =>
          (at % 2 === 0 ? one : two).directory.update('alice', (present) =>
            present === null ? null : { ...present, roles: [...present.roles, role] },
          ),
        ),
      )
      await one.stream.refresh()
      expect(one.directory.find('alice')?.roles.toSorted()).toEqual(['a', 'b', 'c', 'd'])
    })

    test('decides by what another process has written, also when it has not seen it', async () => {
      const [one, two] = await openTwo()
      await putRecord(one.directory, agentRecord('alice'))
      await two.stream.refresh()
      const revoked = { status: 'revoked', statusReason: 'stolen' } as const
      await putRecord(one.directory, agentRecord('alice', revoked))
      const change = (present: AgentRecord | null) => present && { ...present, roles: ['admin'] }
      expect(await two.directory.update('alice', change)).toMatchObject({
        ...revoked,
        roles: ['admin'],
      })
      expect(await one.directory.update('alice', (present) => present)).toMatchObject(revoked)
    })

    test('keeps its own copy of what it was given', async () => {
      const { directory } = await openOne()
      const keys = keysOf(7)
      await putRecord(directory, agentRecord('alice', { keys }))
      keys.signing.publicKey.fill(0)
      expect(directory.find('alice')?.keys?.signing.publicKey[0]).toBe(7)
    })

    test('changes a record whose text it would write in another way', async () => {
      const open = await make(stateHistoryRows)
      const store = await open()
      const value = JSON.stringify(JSON.parse(formatted(agentRecord('alice'))), null, 2)
      await store.commit([{ table: 'agents', key: 'alice', value }])
      await store.close()
      const { directory } = await openWith(open)
      await putRecord(directory, agentRecord('alice', { roles: ['x'] }))
      expect(directory.find('alice')?.roles).toEqual(['x'])
    })

    test.for([
      ['that makes no sense', '{"name":"alice"}'],
      ['of another name', formatted(agentRecord('bob'))],
    ])('refuses to open over a record %s', async ([, value = '']) => {
      const open = await make(stateHistoryRows)
      const store = await open()
      await store.commit([{ table: 'agents', key: 'alice', value }])
      await store.close()
      await expect(openWith(open)).rejects.toThrow()
    })
  })
}

/** As the directory writes a record without keys. */
function formatted({ keys: _, ...fields }: AgentRecord): string {
  return JSON.stringify({ ...fields, keys: null })
}

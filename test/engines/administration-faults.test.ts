import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { AgentError, askControl, openIdentity, RefusedError } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { Lab, plantSeed, type Seed } from '../faults/lab.ts'

let seed: Seed

beforeAll(async () => {
  seed = await plantSeed()
})

afterAll(() => rmSync(seed.dir, { recursive: true, force: true }))

type Ask = (operation: string, args?: object) => Promise<unknown>

async function asOperator<T>(lab: Lab, work: (ask: Ask) => Promise<T>): Promise<T> {
  const dir = join(lab.data, 'operator')
  const own = { join: undefined, dir, clock: systemClock, onFault: () => undefined }
  const identity = await openIdentity(own)
  try {
    return await work(async (operation, args = {}) => {
      const value = { operation, args }
      const answer = await askControl(identity.connection, {
        method: 'POST',
        path: '/v1/admin',
        value,
      })
      return (answer as { readonly result: unknown }).result
    })
  } finally {
    identity.close()
  }
}

interface Change {
  readonly args: object
  /** Returns whether the change is done, as a newly started fabric shows it. */
  isDone(ask: Ask, lab: Lab): Promise<boolean>
}

const listed = async (ask: Ask, operation: string, text: string): Promise<boolean> =>
  JSON.stringify(await ask(operation)).includes(text)

const changes: Readonly<Record<string, Change>> = {
  'policy.put': {
    args: { name: 'late.cedar', text: '@id("late") forbid(principal, action, resource);' },
    isDone: (_, lab) => Promise.resolve(existsSync(join(lab.data, 'policies', 'late.cedar'))),
  },
  'agent.quarantine': {
    args: { name: 'known', reason: 'a test' },
    isDone: (ask) => listed(ask, 'agent.list', '"status":"quarantined"'),
  },
  'key.create': {
    args: { agent: 'late' },
    isDone: (ask) => listed(ask, 'key.list', '"agent":"late"'),
  },
  'route.put': {
    args: { name: 'late', upstream: 'http://127.0.0.1:9/' },
    isDone: (ask) => listed(ask, 'route.list', '"name":"late"'),
  },
}

const eio = 5

/** The calls that fail from then on. */
const faults: Readonly<Record<string, readonly string[]>> = {
  'a write to the ledger': [`write ${eio} /ledger/a/wal/`],
  'a sync of the ledger': [`sync ${eio} /ledger/a/wal/`],
  'a write of the stored head': [`write ${eio} /ledger/a/head`],
  'a sync of `state.db`': [`sync ${eio} state.db`],
  'a sync of the policies': [`sync ${eio} /policies`],
}

type Told = 'done' | 'not done' | 'unknown'

/** Returns what the operator has to conclude from the answer, or from its absence. */
async function toldBy(answer: Promise<unknown>): Promise<Told> {
  try {
    await answer
    return 'done'
  } catch (error) {
    if (error instanceof RefusedError || error instanceof AgentError) {
      return error.mayHaveActed ? 'unknown' : 'not done'
    }
    throw error
  }
}

describe.concurrent('what an operator is told while the disk fails is what was done [record:ledger-failure]', () => {
  for (const [what, rules] of Object.entries(faults)) {
    test.each(Object.keys(changes))(`${what}: %s`, async (operation) => {
      const change = changes[operation]
      if (change === undefined) throw new Error(operation)
      const lab = Lab.open(seed)
      try {
        const server = lab.start()
        await server.ready()
        const told = await asOperator(lab, async (ask) => {
          await ask('key.create', { agent: 'known' })
          lab.failCalls(...rules)
          return toldBy(ask(operation, change.args))
        })
        server.signal('SIGTERM')
        await server.end(120_000)
        lab.failCalls()
        const next = lab.start()
        await next.ready()
        const isDone = await asOperator(lab, (ask) => change.isDone(ask, lab))
        if (told !== 'unknown') expect(isDone).toBe(told === 'done')
        // The intent could not be recorded, so nothing was delivered, whatever answer the operator
        // received.
        if (rules.some((rule) => rule.includes('/ledger/'))) expect(isDone).toBe(false)
        next.signal('SIGTERM')
        expect(await next.end(120_000)).toBe(0)
      } finally {
        lab.close()
      }
    })
  }
})

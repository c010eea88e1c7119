import { createHash, randomBytes } from 'node:crypto'
import { createId, formatMeshEntries, type MeshEntry, type MeshFact } from '@countersign/protocol'
import { agentId, send, sendInTurn } from './doors.ts'
import type { Heard } from './raw-http.ts'
import type { World } from './world.ts'

export const newExchange = (at = Date.now()) => createId('dec', at, new Uint8Array(randomBytes(10)))

const digest = (text: string) => new Uint8Array(createHash('sha256').update(text).digest())

const asked = {
  transport: 'mesh',
  protocol: 'http',
  operation: 'POST',
  tool: '',
  receiver: 'thief',
  caller: agentId('caller'),
  'caller.method': 'certificate',
  'request.digest': digest('{}'),
} as const

/** The facts that an honest connector of the agent `thief` records. */
const honest: Readonly<Record<MeshEntry['kind'], MeshEntry['facts']>> = {
  intent: {
    ...asked,
    'caller.credential': 'a'.repeat(64),
    'policy.version': 'b'.repeat(64),
    'policy.rules': 'world',
    'request.forwarded-digest': digest('{}'),
    masked: '',
    'attested.request': 'connector',
  },
  refusal: { ...asked, code: 'NOT_PERMITTED', 'private.detail': 'no policy permits it' },
  outcome: {
    result: 'delivered',
    status: 200,
    'attested.response': 'connector',
    'response.digest': digest('{}'),
    'response.forwarded-digest': digest('{}'),
    'response.masked': '',
  },
  indeterminate: { result: 'unknown', code: 'UNDECIDED' },
}

/** An entry of the connector of `thief`, with `facts` in place of the honest ones; null omits one. */
export function meshEntry(
  change: Partial<Omit<MeshEntry, 'facts'>> & {
    readonly facts?: Readonly<Record<string, MeshFact | null>>
  } = {},
): MeshEntry {
  const { kind = 'intent', exchange = newExchange(), facts = {} } = change
  const all = Object.entries({ ...honest[kind], ...facts })
  const kept = all.filter((pair): pair is [string, MeshFact] => pair[1] !== null)
  return { kind, exchange, facts: Object.fromEntries(kept) }
}

/** Records entries as the connector of the agent `name`. */
export async function record(
  world: World,
  entries: readonly MeshEntry[],
  name = 'thief',
): Promise<Heard> {
  return send(world.control, {
    path: '/v1/mesh/entries',
    as: (await world.agent(name, ['caller'])).credential(),
    body: formatMeshEntries(entries),
  })
}

/** As `record`, one batch after the other on one connection. */
export async function recordInTurn(
  world: World,
  batches: readonly (readonly MeshEntry[])[],
  name: string,
): Promise<readonly Heard[]> {
  const agent = await world.agent(name, ['caller'])
  const drafts = batches.map((entries) => ({
    path: '/v1/mesh/entries',
    body: formatMeshEntries(entries),
  }))
  return sendInTurn(world.control, agent.credential(), drafts)
}

/** The indexes of a batch of which at least one entry was recorded; null for one that was not. */
export async function indexesOf(
  world: World,
  entries: readonly MeshEntry[],
): Promise<readonly (number | null)[]> {
  const heard = await record(world, entries)
  return (JSON.parse(heard.body.toString()) as { indexes: (number | null)[] }).indexes
}

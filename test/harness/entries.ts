import { createHash, randomBytes } from 'node:crypto'
import { createExchangeId, type MeshEntry, type MeshFact } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { compilePolicies } from '../../packages/fabric/src/policy/compile-policies.ts'
import type { PolicyRequest, PolicySet } from '../../packages/fabric/src/policy/policy.ts'
import { readPolicyRequest } from '../../packages/fabric/src/policy/policy-request.ts'
import type { PolicySource } from '../../packages/fabric/src/policy/policy-set.ts'
import { DATA_CLASSES } from '../../packages/fabric/src/redaction/redactor.ts'
import { agentId, send, sendInTurn } from './doors.ts'
import { policyParser } from './policies.ts'
import type { Heard } from './raw-http.ts'
import { batchBody } from './stated-batches.ts'
import type { World } from './world.ts'

export const newExchange = (at = Date.now()) =>
  createExchangeId('a', at, new Uint8Array(randomBytes(10)))

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

/** Replaced by the decision of the world's policies when the entry is recorded. */
export const UNDECIDED = { 'policy.version': 'b'.repeat(64), 'policy.rules': 'undecided' } as const

/** The facts that an honest connector of the agent `thief` records. */
const honest: Readonly<Record<MeshEntry['kind'], MeshEntry['facts']>> = {
  intent: {
    ...asked,
    'caller.credential': 'a'.repeat(64),
    ...UNDECIDED,
    'request.forwarded-digest': digest('{}'),
    masked: '',
    'attested.request': 'connector',
  },
  // Of a caller that policy permits: refused for something else, before it was asked.
  refusal: { ...asked, code: 'RATE_LIMITED', 'private.detail': 'too many requests' },
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

/**
 * An entry of the connector of `thief`, with `facts` in place of the honest ones; null omits one.
 */
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
  const agent = await world.agent(name, ['caller'])
  return sendBatch(world, agent, batchBody(agent, await decidedIn(world, entries)))
}

/** Sends the body of a batch as `agent`. */
export function sendBatch(
  world: Pick<World, 'control'>,
  agent: Pick<Identity, 'credential'>,
  body: Uint8Array,
): Promise<Heard> {
  const contentType = 'application/cbor'
  return send(world.control, {
    ...{ path: '/v1/mesh/entries', as: agent.credential(), body, contentType },
  })
}

/** As `record`, one batch after the other on one connection. */
export async function recordInTurn(
  world: World,
  batches: readonly (readonly MeshEntry[])[],
  name: string,
): Promise<readonly Heard[]> {
  const agent = await world.agent(name, ['caller'])
  const left = [...(await decidedIn(world, batches.flat()))]
  const drafts = batches.map((entries) => ({
    path: '/v1/mesh/entries',
    body: batchBody(agent, left.splice(0, entries.length)),
    contentType: 'application/cbor',
  }))
  return sendInTurn(world.control, agent.credential(), drafts)
}

const compiled = new Map<string, Promise<PolicySet>>()

async function policiesOf(world: Pick<World, 'admin'>): Promise<PolicySet> {
  const { version, sources } = (await world.admin('policy.show')) as {
    readonly version: string
    readonly sources: readonly PolicySource[]
  }
  const compilation = { parser: policyParser, dataClasses: DATA_CLASSES, isLinted: false }
  const set = compiled.get(version) ?? compilePolicies(sources, compilation)
  compiled.set(version, set)
  return set
}

type Subject = Pick<
  PolicyRequest['principal'],
  'kind' | 'name' | 'roles' | 'segment' | 'attributes'
>

/** Returns the directory's record of every subject, by name. */
async function subjectsOf(world: Pick<World, 'admin'>): Promise<ReadonlyMap<string, Listed>> {
  const listed = (await world.admin('agent.list')) as readonly Listed[]
  return new Map(
    listed.map(({ kind, name, roles, segment, attributes, status }) => [
      name,
      { kind, name, roles, segment, attributes, status },
    ]),
  )
}

type Listed = Subject & { readonly status: string }

/**
 * A receiver that is unknown or cut off has nothing but its name, for a connector as for the
 * fabric.
 */
function receiverOf(
  name: string,
  subjects: ReadonlyMap<string, Listed>,
): PolicyRequest['resource'] {
  const { status, ...known } = subjects.get(name) ?? { status: 'unknown' }
  const bare = { roles: [], segment: '', attributes: {} }
  return { ...bare, ...(status === 'active' ? known : {}), kind: 'agent', name }
}

function requestOf(
  { facts }: MeshEntry,
  subjects: ReadonlyMap<string, Listed>,
  caller: Partial<Subject>,
): PolicyRequest | null {
  const known = subjects.get(String(facts['caller']).split('/').at(-1) ?? '')
  if (known === undefined) return null
  const { status: _, ...principal } = known
  const { protocol, operation, tool = '' } = facts
  return {
    principal: { ...principal, ...caller },
    action: 'call',
    resource: receiverOf(String(facts['receiver']), subjects),
    context: {
      ...({ transport: 'mesh', protocol, operation, tool } as PolicyRequest['context']),
      ...{ method: 'certificate', risk: 0, labels: [], time: 1_767_276_000 },
      signed: facts['attested.request'] === 'caller',
    },
  }
}

/** With the decisions that an honest connector would state, where the entries leave them open. */
export async function decidedIn(
  world: Pick<World, 'admin'>,
  entries: readonly MeshEntry[],
  caller: Partial<Subject> = {},
): Promise<readonly MeshEntry[]> {
  const isOpen = ({ facts }: MeshEntry) => facts['policy.rules'] === UNDECIDED['policy.rules']
  if (!entries.some(isOpen)) return entries
  const [set, subjects] = await Promise.all([policiesOf(world), subjectsOf(world)])
  return entries.map((entry) => {
    const { 'private.request': own } = entry.facts
    const asked = typeof own === 'string' ? readPolicyRequest(own) : null
    const request = isOpen(entry) ? (asked ?? requestOf(entry, subjects, caller)) : null
    if (request === null) return entry
    const decision = {
      'policy.version': set.version,
      'policy.rules': set.decide(request).policies.join(' '),
      'private.request': JSON.stringify(request),
    }
    // Values that a test states itself stay.
    const left = new Set<unknown>(Object.values(UNDECIDED))
    const kept = Object.entries(entry.facts).filter(([, value]) => !left.has(value))
    return { ...entry, facts: { ...decision, ...Object.fromEntries(kept) } }
  })
}

/** The indexes of a batch of which at least one entry was recorded; null for one that was not. */
export async function indexesOf(
  world: World,
  entries: readonly MeshEntry[],
): Promise<readonly (number | null)[]> {
  const heard = await record(world, entries)
  return (JSON.parse(heard.body.toString()) as { indexes: (number | null)[] }).indexes
}

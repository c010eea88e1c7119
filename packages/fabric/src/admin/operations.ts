import {
  ACTIVITY_WINDOWS,
  type AdminArgs,
  type AdminOperation,
  type AdminResult,
  type AgentView,
  type ExplainedExchange,
  FINDABLE_RESULTS,
  isAgentName,
  isConfidential,
  isExchangeId,
  isFormerExchangeId,
  isId,
  isPrincipalKey,
  isRefusalCode,
  isReservedName,
  isRouteSettings,
  isSlotName,
  type RouteSettings,
} from '@countersign/protocol'
import { z } from 'zod'
import { unknownApproval } from '../approvals/approvals.ts'
import type { Caller } from '../identity/caller.ts'
import { exchangeIdFault, Refusal } from '../lib/refusal.ts'
import { entryView } from './entry-view.ts'
import { findExchanges, listExchanges, readEntries } from './log-operations.ts'
import type { AdminDeps, ListedAgent } from './ports.ts'

/** One administrative operation: what it needs, what it takes, what it is about, what it does. */
interface Operation<Args extends z.ZodObject, Answer> {
  readonly action: 'read' | 'administer'
  readonly args: Args
  /**
   * The members of `args` that name its object in every record, in this order; none for the whole
   * fabric.
   */
  readonly object: readonly (keyof z.infer<Args> & string)[]
  run(deps: AdminDeps, args: z.infer<Args>, request: AdminRequest): Answer
}

/** The exchange in which an operation is carried out, for what is recorded beyond it. */
export interface AdminRequest {
  readonly exchange: string
  /** The principal that asks for the operation, as the pipeline identified it. */
  readonly caller: Caller
}

const name = z.string().refine(isAgentName, 'a name has lower-case letters, digits, . - _')
/** A principal of another issuer has its canonical form for a name. */
const principal = z
  .string()
  .refine((text) => isAgentName(text) || isPrincipalKey(text), 'a name, or a canonical form')
/** Of what an operation creates: a principal, a route, a channel. */
const assignable = name.refine((text) => !isReservedName(text), 'a reserved name')
const upstream = z.url({ protocol: /^https?$/ }).refine(isReachable, 'plain http is for loopback')
/** The longest lifetime of a key, as the identity module allows it. */
const secondsMax = 366 * 24 * 3600
const approvalId = z.string().refine((id) => isId('apr', id), 'not an approval')
const countMax = z.int().min(1).max(1000).default(50)
const cursor = z.string().max(64).optional()
const sought = z.string().min(1).max(65_536).optional()

function operation<Args extends z.ZodObject, Answer>(
  each: Operation<Args, Answer>,
): Operation<Args, Answer> {
  return each
}

/** The row of an operation, as the contract with the clients has it. */
interface ContractRow<Name extends AdminOperation> {
  /** Takes nothing that the contract does not state. */
  readonly args: z.ZodObject & z.ZodType<unknown, AdminArgs<Name>>
  run(deps: AdminDeps, args: never, request: AdminRequest): Answered<Name> | Promise<Answered<Name>>
}

type Answered<Name extends AdminOperation> = AdminResult<Name> | Refusal

/**
 * Every operation of the contract. A name that is not here does not exist: this table is the only
 * entry point.
 */
export const OPERATIONS = {
  status: operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.status(),
  }),
  'activity.show': operation({
    action: 'read',
    args: z.strictObject({
      window: z.enum(ACTIVITY_WINDOWS).default('hour'),
      name: principal.optional(),
      countMax,
    }),
    object: [],
    run: (deps, args) => deps.activity(args),
  }),
  'backup.make': operation({
    action: 'administer',
    args: z.strictObject({ slot: z.string().refine(isSlotName, 'not a log slot') }),
    object: ['slot'],
    run: (deps, { slot }) => deps.makeBackup(slot),
  }),
  'agent.list': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.agents.list().map(agentView),
  }),
  'agent.show': operation({
    action: 'read',
    args: z.strictObject({ name: principal }),
    object: ['name'],
    run: (deps, { name: agent }) => {
      const found = deps.agents.find(agent)
      return found === null ? unknownAgent(agent) : agentView(found)
    },
  }),
  'agent.enroll': operation({
    action: 'administer',
    args: z.strictObject({
      name: assignable,
      kind: z.enum(['agent', 'user']).default('agent'),
      roles: z.array(name).max(32).default([]),
      segment: z.union([name, z.literal('')]).default(''),
      attributes: z
        .record(z.string().max(64), z.union([z.string().max(256), z.int(), z.boolean()]))
        .default({}),
      ttlSeconds: z.int().min(10).max(900).default(900),
    }),
    object: ['name'],
    // Its join string would be refused once it is used, which the operator learns here.
    run: (deps, order) =>
      deps.agents.find(order.name)?.status === 'revoked'
        ? revokedForGood(order.name)
        : deps.agents.invite(order),
  }),
  'agent.quarantine': statusOperation('quarantined'),
  'agent.restore': statusOperation('active'),
  'agent.revoke': statusOperation('revoked'),
  'key.create': operation({
    action: 'administer',
    args: z.strictObject({
      agent: assignable,
      scopes: z.array(name).min(1).max(64).nullable().default(null),
      ttlSeconds: z
        .int()
        .min(60)
        .max(secondsMax)
        .default(90 * 24 * 3600),
    }),
    object: ['agent'],
    run: (deps, order) =>
      deps.agents.find(order.agent)?.status === 'revoked'
        ? revokedForGood(order.agent)
        : deps.keys.create(order),
  }),
  'key.list': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.keys.list(),
  }),
  'key.revoke': operation({
    action: 'administer',
    args: z.strictObject({ prefix: z.string().regex(/^[0-9A-Za-z]{4,32}$/) }),
    object: ['prefix'],
    run: async (deps, { prefix }) =>
      (await deps.keys.revoke(prefix))
        ? { prefix, revoked: true }
        : new Refusal('RECEIVER_UNKNOWN', `no key ${prefix}`),
  }),
  'key.rotate': operation({
    action: 'administer',
    args: z.strictObject({ key: z.enum(['tokens']) }),
    object: ['key'],
    run: async (deps, { key }) => ({ key, ...(await deps.keys.rotateTokens()) }),
  }),
  'policy.show': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.policies.show(),
  }),
  'policy.put': operation({
    action: 'administer',
    args: z.strictObject({
      name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}\.cedar$/),
      text: z.string().max(256 * 1024),
    }),
    object: ['name'],
    run: (deps, order, { exchange }) => deps.policies.put({ ...order, exchange }),
  }),
  'policy.explain': operation({
    action: 'read',
    args: z.strictObject({
      // An id of an earlier version is refused by itself, so that its client receives the remedy.
      exchange: z
        .string()
        .refine((id) => isExchangeId(id) || isFormerExchangeId(id), 'not an exchange'),
    }),
    object: ['exchange'],
    run: (deps, { exchange }) => exchangeIdFault(exchange) ?? explain(deps, exchange),
  }),
  'approval.list': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.approvals.list(),
  }),
  'approval.show': operation({
    action: 'read',
    args: z.strictObject({ id: approvalId }),
    object: ['id'],
    run: async (deps, { id }) => (await deps.approvals.find(id)) ?? unknownApproval(id),
  }),
  'approval.approve': approvalOperation('approved'),
  'approval.deny': approvalOperation('denied'),
  'channel.list': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.channels.list(),
  }),
  'channel.create': operation({
    action: 'administer',
    args: z.strictObject({ name: assignable, members: z.array(assignable).min(1).max(1000) }),
    object: ['name'],
    run: (deps, order) => deps.channels.create(order.name, order.members),
  }),
  'channel.members': operation({
    action: 'administer',
    args: z.strictObject({ name, members: z.array(assignable).max(1000) }),
    object: ['name'],
    run: (deps, order) => deps.channels.setMembers(order.name, order.members),
  }),
  'channel.dead': operation({
    action: 'read',
    args: z.strictObject({ name }),
    object: ['name'],
    run: async (deps, order) => {
      const channels = await deps.channels.list()
      if (channels instanceof Refusal) return channels
      if (channels.some((channel) => channel.name === order.name)) {
        return deps.channels.dead(order.name)
      }
      return new Refusal('RECEIVER_UNKNOWN', `no channel is named ${order.name}`)
    },
  }),
  'channel.redrive': operation({
    action: 'administer',
    args: z.strictObject({ name, group: name, offset: z.int().min(1) }),
    object: ['name', 'group', 'offset'],
    run: async (deps, order) => {
      const redriven = await deps.channels.redrive(order.name, order.group, order.offset)
      return redriven instanceof Refusal ? redriven : { redriven }
    },
  }),
  'ledger.read': operation({
    action: 'read',
    args: z.strictObject({ countMax, after: cursor }),
    object: [],
    run: (deps, args, { caller }) => readEntries(deps.ledger.reads, args, caller.principal),
  }),
  'ledger.recent': operation({
    action: 'read',
    args: z.strictObject({ countMax, before: cursor, after: cursor }),
    object: [],
    run: (deps, args, { caller }) => listExchanges(deps.ledger.reads, args, caller.principal),
  }),
  'ledger.find': operation({
    action: 'read',
    args: z.strictObject({
      ...{ countMax, before: cursor, after: cursor },
      ...{ caller: principal.optional(), user: principal.optional() },
      ...{ receiver: sought, operation: sought, tool: sought },
      result: z.enum(FINDABLE_RESULTS).optional(),
      code: z.string().refine(isRefusalCode, 'a refusal code').optional(),
      since: z.int().min(0).optional(),
      until: z.int().min(0).optional(),
    }),
    object: [],
    run: (deps, args, { caller }) => findExchanges(deps.ledger, args, caller.principal),
  }),
  'ledger.check': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.ledger.check(),
  }),
  // Neither names the principal in its own record: an erased one would make it unreadable too.
  'ledger.subject': operation({
    action: 'read',
    args: z.strictObject({ subject: principal }),
    object: [],
    run: (deps, { subject }, { caller }) => deps.ledger.subject(subject, caller.principal),
  }),
  'ledger.erase': operation({
    action: 'administer',
    args: z.strictObject({ subject: principal, reason: z.string().min(1).max(500).optional() }),
    object: [],
    run: (deps, { subject }, { exchange, caller }) =>
      deps.ledger.erase(subject, { exchange, owner: caller.principal }),
  }),
  'ledger.retention': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.ledger.retention(),
  }),
  'ledger.prune': operation({
    action: 'administer',
    args: z.strictObject({
      slot: z.string().refine(isSlotName, 'not a log slot'),
      reason: z.string().min(1).max(500).optional(),
    }),
    object: ['slot'],
    run: (deps, { slot }, { exchange }) => deps.ledger.prune(slot, exchange),
  }),
  'route.list': operation({
    action: 'read',
    args: z.strictObject({}),
    object: [],
    run: (deps) => deps.routes.list(),
  }),
  'route.put': operation({
    action: 'administer',
    args: z.strictObject({
      name: assignable,
      upstream,
      protocol: z.enum(['a2a', 'mcp', 'http', 'auto']).default('auto'),
      settings: z
        .custom<RouteSettings>(isRouteSettings, 'timeouts, retries and breaker of a route')
        .optional(),
    }),
    object: ['name'],
    run: async (deps, { settings, ...order }) => {
      await deps.routes.put(order.name, order.upstream, { protocol: order.protocol, settings })
      return order
    },
  }),
  'route.delete': operation({
    action: 'administer',
    args: z.strictObject({ name }),
    object: ['name'],
    run: async (deps, order) => ({ removed: await deps.routes.remove(order.name) }),
  }),
} as const satisfies { readonly [Name in AdminOperation]: ContractRow<Name> }

/** Reads of the ledger, of which one reader makes many: those of a minute are one entry. */
export const GROUPED_READS: readonly AdminOperation[] = [
  'activity.show',
  'ledger.read',
  'ledger.recent',
  'ledger.find',
]

export function isOperation(operation: string): operation is keyof typeof OPERATIONS {
  return Object.hasOwn(OPERATIONS, operation)
}

function statusOperation(status: 'active' | 'quarantined' | 'revoked') {
  return operation({
    action: 'administer',
    args: z.strictObject({ name: principal, reason: z.string().min(1).max(500) }),
    object: ['name'],
    run: async (deps, { name: agent, reason }) => {
      const now = await deps.agents.setStatus(agent, status, reason)
      if (now === null) return unknownAgent(agent)
      return now === status ? { name: agent, status, reason } : revokedForGood(agent)
    },
  })
}

function approvalOperation(verdict: 'approved' | 'denied') {
  return operation({
    action: 'administer',
    args: z.strictObject({ id: approvalId, reason: z.string().min(1).max(500) }),
    object: ['id'],
    run: (deps, { id, reason: note }, { caller: approver, exchange }) =>
      deps.approvals.decide({ id, verdict, note, approver, exchange }),
  })
}

function revokedForGood(agent: string): Refusal {
  const next = 'a revoked name never comes back; enrol the agent under another one'
  return new Refusal('AGENT_REVOKED', `${agent} is revoked: ${next}`)
}

function unknownAgent(agent: string): Refusal {
  return new Refusal('RECEIVER_UNKNOWN', `no agent is named ${agent}`)
}

function agentView({ keys, ...rest }: ListedAgent): AgentView {
  return { ...rest, enrolled: keys !== null }
}

async function explain(deps: AdminDeps, exchange: string): Promise<ExplainedExchange | Refusal> {
  const entries = await deps.ledger.explain(exchange)
  if (entries instanceof Refusal) return entries
  if (entries.length === 0) {
    const code = deps.ledger.mayBePruned(exchange) ? 'ENTRIES_PRUNED' : 'EXCHANGE_UNKNOWN'
    return new Refusal(code, exchange)
  }
  const asked = entries
    .map(({ facts }) => facts['private.request'])
    .find((fact) => fact !== undefined)
  return {
    exchange,
    entries: entries.map(entryView),
    policy: typeof asked === 'string' ? (deps.policies.explain(asked) ?? unreadable) : null,
  }
}

/** Every recorded request can be shown, even one that cannot be explained. */
const unreadable = {
  text: 'The recorded request to policy cannot be read, so it is not explained.',
}

function isReachable(text: string): boolean {
  return URL.canParse(text) && isConfidential(new URL(text))
}

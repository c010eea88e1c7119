import { createHash } from 'node:crypto'
import { type FabricStatus, type PolicyPut, toBase64Url } from '@countersign/protocol'
import { formatCursor } from '../admin/ledger-cursor.ts'
import type { AdminDeps, ListedAgent } from '../admin/ports.ts'
import type { Approvals } from '../approvals/approvals.ts'
import type { AgentRecord } from '../identity/directory.ts'
import { principalOfRecord } from '../identity/principals.ts'
import { subjectName } from '../ledger/named-subjects.ts'
import type { OtherSlots } from '../ledger/other-slots.ts'
import { refusalOfBusy } from '../ledger/refusals.ts'
import { LedgerBusy } from '../ledger/unavailable.ts'
import { Refusal } from '../lib/refusal.ts'
import { formatProblem, PoliciesRejected } from '../policy/compile-policies.ts'
import { explainDecision } from '../policy/explain-decision.ts'
import type { PutFile } from '../policy/policy-change.ts'
import { readPolicyRequest } from '../policy/policy-request.ts'
import type { StoredRoutes } from '../routes/stored-routes.ts'
import { readActivity } from './activity.ts'
import { approvalAdmin } from './approvals.ts'
import { composeSnapshots } from './backup-snapshots.ts'
import type { Consumers } from './detection.ts'
import { retentionOf } from './retention.ts'
import type { Environment, Stores } from './stores.ts'
import { fingerprintOf, listSlotHolders } from './trust.ts'

export interface AdminOptions {
  readonly stores: Stores
  readonly environment: Environment
  /** Of the log of this process. */
  readonly consumers: Pick<Consumers, 'detection' | 'activity' | 'all'>
  readonly routes: StoredRoutes
  readonly approvals: Approvals
  readonly others: OtherSlots
  readonly version: string
  origin(): string
}

/** Adapts the modules to the ports of administration. */
export function composeAdminDeps(options: AdminOptions): AdminDeps {
  const { stores } = options
  return {
    agents: agentAdmin(options),
    keys: keyAdmin(options),
    policies: policyAdmin(options),
    channels: channelAdmin(options),
    approvals: approvalAdmin(options.approvals),
    ledger: ledgerAdmin(options),
    routes: options.routes,
    status: () => status(options),
    activity: (args) => readActivity(options, args),
    makeBackup: composeSnapshots(options.environment, stores),
  }
}

function ledgerAdmin({ stores, environment, others }: AdminOptions): AdminDeps['ledger'] {
  const { ledger, identity, erasures, slot } = stores
  const { directory, trustDomain } = identity
  const retention = retentionOf(environment.config)
  /** Every slot that was ever taken may have entries. */
  const slots = async (): Promise<readonly string[]> => (await slot.slots()).map(({ name }) => name)
  const notOne = (name: string): Refusal =>
    new Refusal('RECEIVER_UNKNOWN', `${name} is not a principal: nothing can be erased of it`)
  return {
    reads: ledger,
    principalOf(name) {
      const record = directory.find(name)
      return record === null ? null : principalOfRecord(record, trustDomain)
    },
    explain: async (exchange) => (await others.refusalOf(exchange)) ?? ledger.explain(exchange),
    mayBePruned: (exchange) => ledger.pruning.mayHave(exchange),
    check: () => ledger.check(),
    async retention() {
      const { before: _, ...plan } = await ledger.pruning.plan()
      const cursor = formatCursor(ledger, plan.first)
      return { ...plan, slot: ledger.slot, cursor, holds: retention?.holds ?? [] }
    },
    async prune(asked, exchange) {
      if (asked !== ledger.slot) {
        return new Refusal('RECEIVER_UNKNOWN', `this process has the log slot ${ledger.slot}`)
      }
      if (retention === null) {
        const next = 'set ledger.retention in the configuration'
        return new Refusal('NOT_PERMITTED', `no retention policy: ${next}`)
      }
      return { slot: ledger.slot, ...(await ledger.pruning.prune({ exchange })) }
    },
    async subject(given, owner) {
      const name = subjectName(given, trustDomain)
      if (name === null) return notOne(given)
      const counted = await unlessBusy(() => ledger.countEntries((each) => each === name, owner))
      if (counted instanceof Refusal) return counted
      const entries = counted
      const status = directory.find(name)?.status ?? null
      return { subject: name, slot: ledger.slot, entries, status, slots: await slots() }
    },
    async erase(given, { exchange, owner }) {
      const name = subjectName(given, trustDomain)
      if (name === null) return notOne(given)
      if (directory.find(name)?.status === 'active') return stillActive(name)
      const order = { name, owner, exchange, slots: await slots() }
      const erased = await unlessBusy(() => erasures.begin(order))
      if (erased instanceof Refusal) return erased
      const keysBefore = erased.underWay === 0 ? environment.clock.now() : null
      return { subject: name, slot: ledger.slot, ...erased, keysBefore }
    },
  }
}

async function unlessBusy<Result>(work: () => Promise<Result>): Promise<Result | Refusal> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof LedgerBusy) return refusalOfBusy(cause)
    throw cause
  }
}

function stillActive(name: string): Refusal {
  const next = `run countersign agent revoke ${name}, or quarantine it, and then erase it`
  return new Refusal(
    'NOT_PERMITTED',
    `${name} is active, so its next request would name it: ${next}`,
  )
}

function agentAdmin({ stores, environment, consumers, origin }: AdminOptions): AdminDeps['agents'] {
  const { identity } = stores
  const view = (record: AgentRecord): ListedAgent => {
    const { score, signals } = consumers.detection.riskOf(
      principalOfRecord(record, identity.trustDomain),
      environment.clock.now(),
    )
    return { ...record, risk: score, signals }
  }
  return {
    list: () => identity.directory.list().map(view),
    find: (name) => {
      const record = identity.directory.find(name)
      return record === null ? null : view(record)
    },
    async invite({ ttlSeconds, ...terms }) {
      const { text, token } = await identity.joinTokens.create({
        ...terms,
        ttlMs: ttlSeconds * 1000,
      })
      return { join: `${origin()}/#${text}.${rootFingerprint(stores)}`, expiresAt: token.expiresAt }
    },
    async setStatus(name, status, reason) {
      return (await identity.setStatus(name, status, reason))?.status ?? null
    },
  }
}

/**
 * The fingerprint that a join string pins: the agent trusts a fabric that shows exactly this root.
 */
function rootFingerprint({ identity }: Stores): string {
  const [root] = identity.bundles.find(identity.trustDomain)?.roots ?? []
  if (root === undefined) throw new Error('the trust domain has no root')
  return toBase64Url(createHash('sha256').update(root).digest())
}

function keyAdmin({ stores }: AdminOptions): AdminDeps['keys'] {
  const { admitKeyHolder, apiKeys } = stores.identity
  return {
    async create({ agent, scopes, ttlSeconds }) {
      await admitKeyHolder(agent)
      const { text, key } = await apiKeys.create({ owner: agent, scopes, ttlMs: ttlSeconds * 1000 })
      return { key: text, prefix: key.id, expiresAt: key.expiresAt }
    },
    list: () =>
      apiKeys.list().map(({ id, owner, ...rest }) => ({ prefix: id, agent: owner, ...rest })),
    revoke: (prefix) => apiKeys.remove(prefix),
    rotateTokens: () => stores.identity.rotateTokenKey(),
  }
}

function policyAdmin({ stores: { policy } }: AdminOptions): AdminDeps['policies'] {
  return {
    show: () => ({ version: policy.current.version, sources: policy.policySources() }),
    put,
    explain(text) {
      const request = readPolicyRequest(text)
      return request === null ? null : explainDecision(request, policy.current)
    },
  }

  async function put(file: PutFile): Promise<PolicyPut | Refusal> {
    try {
      const set = await policy.put(file)
      if (set instanceof Refusal) return set
      const warnings = set.warnings.map(formatProblem)
      return { version: set.version, taken: true, problems: [], warnings }
    } catch (cause) {
      if (!(cause instanceof PoliciesRejected)) throw cause
      const problems = cause.problems.map(formatProblem)
      return { version: policy.current.version, taken: false, problems, warnings: [] }
    }
  }
}

function channelAdmin({ stores, environment }: AdminOptions): AdminDeps['channels'] {
  const elsewhere = () => stores.queue.present.channelsElsewhere()
  const authority = () => stores.queue.present.channelAuthority
  const store = () => stores.queue.present.channelStore
  return {
    async list() {
      const refusal = elsewhere()
      if (refusal !== null) return refusal
      const counted = new Map(
        (await store().stats()).map(({ channel, ...counts }) => [channel, counts]),
      )
      return authority()
        .list()
        .map(({ name, members, epoch, floor }) => ({
          ...{ name, members, epoch, floor },
          ...{ messages: 0, bytes: 0, dead: 0, lastOffset: 0 },
          ...counted.get(name),
        }))
    },
    create: async (name, members) => elsewhere() ?? authority().create({ name, members }),
    setMembers: async (name, members) => elsewhere() ?? authority().setMembers(name, members),
    dead: async (name) => elsewhere() ?? store().dead(name, deadLettersMax),
    redrive: async (name, group, offset) =>
      elsewhere() ?? store().redrive(name, group, offset, environment.clock.now()),
  }
}

/** As many as one answer holds; the oldest first, so that redriving them shows the next. */
const deadLettersMax = 200

async function status({
  stores,
  environment,
  consumers,
  version,
  origin,
}: AdminOptions): Promise<FabricStatus> {
  const { ledger, policy, identity } = stores
  const { trustDomain } = environment.config
  return {
    version,
    trustDomain,
    origin: origin(),
    ledger: { slot: ledger.slot, first: ledger.first, size: ledger.size, vkey: ledger.vkey },
    slots: await listSlotHolders(stores),
    consumers: consumers.all.map((consumer) => consumer.status),
    followers: ledger.followers.map(({ owner, position }) => ({
      ...{ reader: owner, position, behind: ledger.size - position },
    })),
    trustFingerprint: await fingerprintOf(stores),
    policyVersion: policy.current.version,
    agents: identity.directory.list().length,
    memoryBytes: process.memoryUsage.rss(),
    uptimeMs: Math.round(process.uptime() * 1000),
  }
}

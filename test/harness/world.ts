import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { RouteSettings } from '@countersign/protocol'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { inject } from 'vitest'
import { type Fabric, openFabric } from '../../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { checkEntryClaims } from '../../packages/protocol/src/receipts/receipt-claims.ts'
import { ShiftedClock } from './clock.ts'
import { type Connectors, openConnectors } from './connectors.ts'
import { type Door, trustDomain } from './doors.ts'
import { type Echo, openEcho } from './echo.ts'
import { policyParser, RECEIVERS, WORLD_POLICIES } from './policies.ts'

/** One entry of the ledger, as administration shows it. */
export interface ExplainedEntry {
  readonly kind: string
  readonly exchange: string
  readonly facts: Readonly<Record<string, string | number | boolean>>
}

/** A whole fabric with an operator, callers, receivers and connectors, in this process. */
export interface World {
  readonly dir: string
  readonly clock: ShiftedClock
  readonly fabric: Fabric
  readonly echo: Echo
  readonly operator: Identity
  /** May call every receiver of the world. */
  readonly caller: Identity
  readonly gateway: Door
  /** The same listener, where a path is not an agent's but the fabric's own. */
  readonly control: Door
  readonly mesh: Door
  readonly connectors: Connectors
  /** An administrative operation, as the operator. */
  admin(operation: string, args?: object): Promise<unknown>
  /** Enrols an agent of that name once; later calls give the same one. */
  agent(name: string, roles?: readonly string[]): Promise<Identity>
  /** As `agent`, for a user, which cannot have the name of an agent. */
  user(name: string, roles?: readonly string[]): Promise<Identity>
  /** Returns what the ledger holds of an exchange, as `countersign explain` shows it. */
  explain(exchange: string): Promise<readonly ExplainedEntry[]>
  /** Every entry of the ledger, newest first. */
  recorded(): Promise<readonly ExplainedEntry[]>
  /** Throws when something was recorded of which no receipt would verify; `close` asks as well. */
  checkEntries(): void
  close(): Promise<void>
}

export interface WorldOptions {
  /** Further lines of `countersign.yaml`. */
  readonly limits?: Readonly<Record<string, number>>
  /** `routes` of `countersign.yaml`. */
  readonly routes?: Readonly<Record<string, RouteSettings>>
  /** The receivers of the world; all of them by default. */
  readonly receivers?: readonly (keyof typeof RECEIVERS)[]
  /**
   * Receivers of `countersign.yaml`, which never enrol, by name; the echo answers for all of them.
   */
  readonly configured?: Readonly<Record<string, { readonly roles: readonly string[] }>>
  /** `identity.issuers` of `countersign.yaml`. */
  readonly issuers?: readonly object[]
  /** Receives a notification of each request for an approval. */
  readonly webhook?: string
  /** Lets a second fabric run on its data folder. */
  readonly replica?: boolean
}

/** High enough that an attack is not refused for being one of many, unless it is about that. */
const limitsDefault = { requestsPerMinute: 100_000, refusalsPerMinute: 100_000, bodyBytes: 65_536 }

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const dir = mkdtempSync(join(inject('worldsDir'), 'world-'))
  const clock = new ShiftedClock()
  const echo = await openEcho()
  const agents = Object.entries(options.configured ?? {}).map(([name, { roles }]) => [
    name,
    { upstream: echo.url, protocol: 'auto', roles },
  ])
  const limits = { ...limitsDefault, ...options.limits }
  const fabric = await openTestFabric(dir, clock, limits, {
    replica: options.replica ?? false,
    agents: Object.fromEntries(agents),
    routes: options.routes ?? {},
    identity: { issuers: options.issuers ?? [] },
    approvals: options.webhook === undefined ? {} : { webhook: options.webhook },
  })
  const checkEntries = watchEntries(fabric)
  const people = new Map<string, Promise<Identity>>()
  const enrol = (name: string, kind: 'agent' | 'user', roles: readonly string[]) => {
    const known = people.get(name)
    if (known !== undefined) return known
    const enrolled = enrolIdentity({ fabric, clock, dir }, { name, kind, roles })
    people.set(name, enrolled)
    return enrolled
  }
  const operator = await enrol('operator', 'user', ['operator'])
  const admin = adminOf(operator)
  const caller = await enrol('caller', 'agent', ['caller'])
  const receivers = options.receivers ?? (Object.keys(RECEIVERS) as (keyof typeof RECEIVERS)[])
  await putPolicies(admin)
  for (const name of receivers) {
    const { role, protocol } = RECEIVERS[name]
    await enrol(name, 'agent', [role])
    await admin('route.put', { name, upstream: echo.url, protocol })
  }
  const credential = () => caller.credential()
  const stallMs = options.limits?.['responseStallMs']
  const connectors = openConnectors({
    clock,
    echo,
    origin: fabric.origin,
    agent: (name) => enrol(name, 'agent', ['caller']),
    responseLimits: stallMs === undefined ? {} : { stallMs },
  })
  const { host: authority, port } = new URL(fabric.origin)
  const gatewayAt = (pathOf: (to: string, path: string) => string): Door => ({
    transport: 'gateway',
    credential,
    place: (to, path) => Promise.resolve({ authority, port: Number(port), path: pathOf(to, path) }),
  })
  return {
    ...{ dir, clock, fabric, echo, operator, caller, connectors, admin, checkEntries },
    gateway: gatewayAt((to, path) => `/agents/${to}${path}`),
    control: gatewayAt((_, path) => path),
    mesh: { transport: 'mesh', credential, place: (to, path) => connectors.place(to, path) },
    agent: (name, roles = []) => enrol(name, 'agent', roles),
    user: (name, roles = []) => enrol(name, 'user', roles),
    explain: (exchange) => explain(admin, exchange),
    recorded: () => recorded(admin),
    async close() {
      await connectors.close()
      for (const identity of await Promise.all(people.values())) identity.close()
      await fabric.close(0)
      await echo.close()
      rmSync(dir, { recursive: true, force: true })
      checkEntries()
    },
  }
}

/** Checks every entry of a fabric as verifiers check it, for any recorder and any subject. */
function watchEntries(fabric: Fabric): () => void {
  const faults: string[] = []
  fabric.onEntry(({ kind, facts, exchange }) => {
    try {
      checkEntryClaims({ kind, facts, withheld: [] }, trustDomain)
      // The detail that the fabric records in place of an entry that it would have to reject
      // itself.
      const detail = String(facts['private.detail'])
      if (detail.includes('contradicts itself')) throw new Error(detail)
    } catch (cause) {
      faults.push(`${exchange}: ${String(cause)} ${JSON.stringify(facts)}`)
    }
  })
  return () => {
    const found = faults.splice(0).join('; ')
    if (found !== '') throw new Error(`no receipt would verify: ${found}`)
  }
}

export type Admin = World['admin']

interface TestFabricOptions extends Pick<Parameters<typeof openFabric>[0], 'acceptClock'> {
  readonly agents?: object
  readonly approvals?: object
  readonly routes?: object
  readonly identity?: object
  readonly engines?: object
  /** Takes the next log slot of the data folder, next to a fabric that runs on it. */
  readonly replica?: boolean
}

/** A fabric on `dir`, or once more on what an earlier one left there. */
export async function openTestFabric(
  dir: string,
  clock: ShiftedClock,
  limits: Readonly<Record<string, number>>,
  { replica = false, agents = {}, routes = {}, engines = {}, ...others }: TestFabricOptions = {},
): Promise<Fabric> {
  const { approvals = {}, identity = {}, ...once } = others
  const text = JSON.stringify({
    replica,
    masterKey: { from: 'key-file', path: join(dir, 'master.key') },
    limits,
    agents,
    routes,
    engines,
    approvals,
    identity,
  })
  const file = { path: 'countersign.yaml', text }
  return openFabric({
    config: parseConfig(file, readEnvironment(), { dataDir: join(dir, 'data'), port: 0 }),
    clock,
    random: systemRandom,
    policyParser,
    ...once,
    log: () => undefined,
    onFatal: (reason, cause) => {
      throw new Error(reason, { cause })
    },
  })
}

interface Environment {
  readonly fabric: Fabric
  readonly clock: ShiftedClock
  readonly dir: string
}

async function enrolIdentity(
  { fabric, clock, dir }: Environment,
  who: {
    readonly name: string
    readonly kind: 'agent' | 'user'
    readonly roles: readonly string[]
  },
): Promise<Identity> {
  const order = { ...who, segment: '', attributes: {}, ttlSeconds: 900 }
  const { join: line } = await fabric.invite(order)
  const own = join(dir, who.name)
  mkdirSync(own, { recursive: true, mode: 0o700 })
  return openIdentity({ join: line, dir: own, clock, onFault: () => undefined })
}

function adminOf(operator: Identity): Admin {
  return async (operation, args = {}) => {
    const value = { operation, args }
    const answer = await askControl(operator.connection, {
      method: 'POST',
      path: '/v1/admin',
      value,
    })
    return (answer as { result: unknown }).result
  }
}

/** Stores the policy for the callers of a world; throws where the fabric does not take it. */
export async function putPolicies(admin: Admin): Promise<void> {
  const put = await admin('policy.put', { name: 'world.cedar', text: WORLD_POLICIES })
  const { taken, problems } = put as { taken: boolean; problems: readonly string[] }
  if (!taken) throw new Error(problems.join('\n'))
}

async function recorded(admin: Admin): Promise<readonly ExplainedEntry[]> {
  const entries: ExplainedEntry[] = []
  const countMax = 200
  for (let after: string | undefined; ; ) {
    const page = (await admin('ledger.read', { countMax, after })) as {
      readonly entries: readonly ExplainedEntry[]
      readonly newer: string
    }
    entries.unshift(...page.entries.toReversed())
    // Each page is a read that may be on record itself: the last one is that which is not full.
    if (page.entries.length < countMax) return entries
    after = page.newer
  }
}

async function explain(admin: Admin, exchange: string): Promise<readonly ExplainedEntry[]> {
  const told = await admin('policy.explain', { exchange })
  return (told as { entries: readonly ExplainedEntry[] }).entries
}

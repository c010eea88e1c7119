import {
  ListenerSet,
  type MeshAgent,
  type MeshState,
  type PrincipalKey,
  parseBase64,
  parseRouteSettings,
  type RouteReliability,
} from '@countersign/protocol'
import { memoryRateLimits } from '../adapters/rate-limiter/rate-limits.ts'
import type { AgentRecord, Directory } from '../identity/directory.ts'
import { awaitNewcomers, awaitNews, type News } from '../identity/newcomers.ts'
import { findAgent, principalOfRecord } from '../identity/principals.ts'
import type { RateLimits } from '../pipeline/quota.ts'
import { compilePolicies } from '../policy/compile-policies.ts'
import type { PolicyParser } from '../policy/parser.ts'
import type { PolicySet } from '../policy/policy.ts'
import { DATA_CLASSES } from '../redaction/redactor.ts'

/** Sets of policies that a connector remembers to have had, the present one included. */
const versionsMax = 256

/** The fabric's state as the stages read it. Replaced whole, and only by a state that compiles. */
export class FollowedState {
  readonly #parser: PolicyParser
  readonly #trustDomain: string
  readonly #listeners = new ListenerSet()
  #enrolledAgain = (): void => undefined
  #agents: ReadonlyMap<string, AgentRecord> = new Map()
  #byKey: ReadonlyMap<string, AgentRecord> = new Map()
  #risks: ReadonlyMap<PrincipalKey, number> = new Map()
  #limits: { readonly perMinute: number; readonly rates: RateLimits } | null = null
  #policy: PolicySet | null = null
  #policyText = ''
  #count = 0
  readonly #versions = new Set<string>()
  #slot: string | null = null
  #endpoints: MeshState['endpoints'] = []
  #routes: ReadonlyMap<string, RouteReliability> = new Map()
  #renewals: ReadonlyMap<string, number> = new Map()

  constructor(parser: PolicyParser, trustDomain: string) {
    this.#parser = parser
    this.#trustDomain = trustDomain
  }

  /** The log slot of the fabric, where this connector's exchanges are recorded. */
  get slot(): string {
    if (this.#slot === null) throw new Error('no log slot has been received')
    return this.#slot
  }

  get endpoints(): MeshState['endpoints'] {
    return this.#endpoints
  }

  /** The fabric's own limit; counted here, since here is where the exchange is decided. */
  get limits(): RateLimits {
    if (this.#limits === null) throw new Error('no limit has been received')
    return this.#limits.rates
  }

  get policy(): PolicySet {
    if (this.#policy === null) throw new Error('no policy has been received')
    return this.#policy
  }

  readonly directory: Directory = {
    find: (name) => this.#agents.get(name) ?? null,
    findBySigningKey: (keyId) => this.#byKey.get(keyId) ?? null,
    list: () => [...this.#agents.values()],
    onChange: () => () => undefined,
  }

  readonly news: Omit<News, 'refresh'> = {
    count: () => this.#count,
    hasHad: (policyVersion) => this.#versions.has(policyVersion),
    wait: awaitNews((listener) => this.onChange(listener)),
  }
  readonly newcomers = awaitNewcomers(this.directory, this.news.wait)

  async apply(state: MeshState): Promise<void> {
    const text = JSON.stringify(state.policies)
    if (text !== this.#policyText) {
      const compilation = { parser: this.#parser, dataClasses: DATA_CLASSES, isLinted: false }
      this.#policy = await compilePolicies(state.policies, compilation)
      this.#policyText = text
      this.#remember(this.#policy.version)
    }
    const perMinute = state.requestsPerMinute
    if (this.#limits?.perMinute !== perMinute) {
      this.#limits = { perMinute, rates: memoryRateLimits(perMinute) }
    }
    const records = state.agents.map(toRecord)
    const isEnrolledAgain = records.some(
      ({ name, generation }) => (this.#agents.get(name)?.generation ?? generation) < generation,
    )
    this.#risks = new Map(
      state.agents.map((agent) => [principalOfRecord(agent, this.#trustDomain), agent.risk]),
    )
    this.#agents = new Map(records.map((record) => [record.name, record]))
    this.#byKey = new Map(
      records.flatMap((record) =>
        record.keys === null ? [] : [[record.keys.signing.keyId, record] as const],
      ),
    )
    this.#slot = state.slot
    this.#endpoints = state.endpoints
    this.#routes = new Map(
      Object.entries(state.routes).map(([name, settings]) => [name, parseRouteSettings(settings)]),
    )
    this.#renewals = new Map(Object.entries(state.renewals))
    if (isEnrolledAgain) this.#enrolledAgain()
    this.#count += 1
    this.#listeners.notify()
  }

  #remember(version: string): void {
    this.#versions.delete(version)
    this.#versions.add(version)
    const [oldest] = this.#versions
    if (this.#versions.size > versionsMax && oldest !== undefined) this.#versions.delete(oldest)
  }

  onEnrolledAgain(listener: () => void): void {
    this.#enrolledAgain = listener
  }

  /**
   * As `reliabilityOf`, behind a hop that sends again itself: without this, attempts would
   * multiply.
   */
  lastHop(name: string): RouteReliability | undefined {
    const settings = this.#routes.get(name)
    if (settings === undefined) return undefined
    return { ...settings, retries: { ...settings.retries, resend: false } }
  }

  reliabilityOf(name: string): RouteReliability | undefined {
    return this.#routes.get(name)
  }

  /** Unix milliseconds; 0 for a certificate without a known renewal. */
  renewedUntil(fingerprint: string): number {
    return this.#renewals.get(fingerprint) ?? 0
  }

  /** A caller that the fabric does not know is as risky as can be. */
  riskOf(principal: PrincipalKey): number {
    return this.#risks.get(principal) ?? 100
  }

  findReceiver(kind: 'agent' | 'channel' | 'fabric', name: string) {
    const record = kind === 'agent' ? findAgent(this.directory, name) : null
    if (record === null || record.status !== 'active') return null
    const { roles, segment, attributes } = record
    return { kind, name, roles, segment, attributes }
  }

  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener)
  }
}

function toRecord({ signing, sealing, risk: _, ...rest }: MeshAgent): AgentRecord {
  const keys =
    signing === null || sealing === null
      ? null
      : { signing: toKey(signing), sealing: toKey(sealing) }
  // A fabric of an earlier version does not count.
  return { ...rest, generation: rest.generation ?? 0, keys }
}

function toKey(key: { readonly keyId: string; readonly publicKey: string }) {
  const publicKey = parseBase64(key.publicKey)
  if (publicKey === null) throw new Error(`the key ${key.keyId} is malformed`)
  return { keyId: key.keyId, publicKey }
}

import { equalBytes, type MeshEntry, parseSpiffeId, timeOfId } from '@countersign/protocol'
import type { Caller } from '../../identity/caller.ts'
import type { OpenedEntry } from '../../ledger/ledger.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Rooms } from '../../pipeline/enforce.ts'

/** Exchanges under way at one connector; beyond this it can no longer close its oldest. */
const openExchangesMax = 10_000
/** An exchange is recorded as it begins: a request may take a minute to arrive, and clocks differ. */
const begunWindowMs = 300_000

export interface EntryChecksOptions {
  readonly rooms: Pick<Rooms, 'authorization'>
  /** Whether the caller that `facts` name signed this request for `producer`; once for each entry. */
  isProvenRequest(facts: MeshEntry['facts'], producer: string): Promise<boolean>
  readonly ledger: { explain(exchange: string): Promise<readonly OpenedEntry[]> }
}

/** What a connector may put on record (docs/protocol.md, "Mesh control"). */
export interface EntryChecks {
  /**
   * Holds the exchanges of all entries for `connector` until `settle` is told what was recorded.
   * Refuses all entries for what no honest connector sends, and single ones for what a caller, a
   * clock or a directory that has just changed can bring about: nobody whose call waits in the same
   * batch may suffer from it.
   */
  claim(entries: readonly MeshEntry[], connector: Caller, now: number): Promise<Claim | Refusal>
}

export interface Claim {
  /** What may be recorded; at least one entry. */
  readonly admitted: ReadonlySet<MeshEntry>
  /** Why not all of them. */
  readonly refusal: Refusal | null
  settle(recorded: ReadonlySet<MeshEntry>): void
}

export function createEntryChecks(options: EntryChecksOptions): EntryChecks {
  const owners = new ExchangeOwners()
  return {
    async claim(entries, connector, now) {
      // Held before anything is waited for, so that two claims cannot both find an exchange free.
      const fault = findPretence(entries) ?? owners.hold(entries, connector)
      if (fault !== null) return new Refusal('NOT_PERMITTED', fault)
      const settle = (recorded: ReadonlySet<MeshEntry>): void => {
        owners.settle(entries, connector, recorded)
      }
      try {
        const claim = await examine(options, entries, { connector, now })
        if (claim.admitted.size > 0 || claim.refusal === null) return { ...claim, settle }
        settle(claim.admitted)
        return claim.refusal
      } catch (cause) {
        settle(new Set())
        throw cause
      }
    },
  }
}

interface Recording {
  readonly connector: Caller
  readonly now: number
}

async function examine(
  options: EntryChecksOptions,
  entries: readonly MeshEntry[],
  recording: Recording,
): Promise<Omit<Claim, 'settle'>> {
  const admitted = new Set<MeshEntry>()
  let refusal: Refusal | null = null
  for (const entry of entries) {
    const fault =
      timeFault(entry, recording) ??
      keyFault(options, entry, recording) ??
      (await findUnproven(options, entry, recording))
    if (fault === null) admitted.add(entry)
    else refusal ??= new Refusal('NOT_PERMITTED', fault)
  }
  return { admitted, refusal }
}

/** By the time in its id an exchange is looked for, and sorted by whoever reads the ledger. */
function timeFault({ kind, exchange }: MeshEntry, { now }: Recording): string | null {
  const begun = timeOfId('dec', exchange) ?? 0
  return kind !== 'intent' || Math.abs(now - begun) <= begunWindowMs
    ? null
    : `${exchange} did not begin within five minutes of now`
}

const isOpening = (kind: MeshEntry['kind']): boolean => kind === 'intent' || kind === 'refusal'

const HALVES = [
  { half: 'request', party: 'caller', kinds: ['intent'] },
  { half: 'response', party: 'callee', kinds: ['outcome', 'indeterminate'] },
] as const

/**
 * An entry says that a party attested exactly when it holds a key and a signature. What the fabric signs
 * towards receivers, it records itself.
 */
function findPretence(entries: readonly MeshEntry[]): string | null {
  for (const { kind, facts } of entries) {
    const ofFabric = Object.keys(facts).find((name) => name.startsWith('forwarded.'))
    if (ofFabric !== undefined) return `${ofFabric} is for the fabric to record`
    for (const { half, party, kinds } of HALVES) {
      const parts = ['key', 'signature', 'signature-base'].map((part) => facts[`${half}.${part}`])
      const claims = facts[`attested.${half}`] === party
      if (!claims && parts.every((part) => part === undefined)) continue
      if (!claims || parts.includes(undefined)) return `the ${half} is attested by half`
      if (!kinds.some((each) => each === kind)) return `an entry of kind ${kind} has no ${half}`
    }
  }
  return null
}

/**
 * Which keys are whose is for the directory to say: a connector could name anybody over a key that
 * it made up.
 */
function keyFault(
  { rooms }: EntryChecksOptions,
  { facts }: MeshEntry,
  { connector }: Recording,
): string | null {
  const trustDomain = trustDomainOf(connector.spiffeId)
  for (const { half } of HALVES) {
    const key = facts[`${half}.key`]
    const owner = half === 'request' ? facts['caller'] : connector.spiffeId
    if (key === undefined || isKeyOf(rooms, key, { owner, trustDomain })) continue
    return `${half}.key is not the key of ${String(owner)}`
  }
  return null
}

const trustDomainOf = (spiffeId: string): string | undefined => parseSpiffeId(spiffeId)?.trustDomain

function isKeyOf(
  { authorization }: EntryChecksOptions['rooms'],
  key: unknown,
  { owner, trustDomain }: { readonly owner: unknown; readonly trustDomain: string | undefined },
): boolean {
  const id = typeof owner === 'string' ? parseSpiffeId(owner) : null
  if (id === null || id.trustDomain !== trustDomain || !(key instanceof Uint8Array)) return false
  const known = authorization.findPrincipal(id.name)
  return (
    known?.kind === id.kind && equalBytes(key, known.keys?.signing.publicKey ?? new Uint8Array(0))
  )
}

async function findUnproven(
  { ledger, isProvenRequest }: EntryChecksOptions,
  { kind, exchange, facts }: MeshEntry,
  { connector }: Recording,
): Promise<string | null> {
  // Whoever could add an entry to an exchange that is on record would become one of its two ends,
  // and could then read its receipt.
  if (isOpening(kind) && (await ledger.explain(exchange)).length > 0) {
    return `${exchange} is on record already`
  }
  const isClaimed = facts['attested.request'] === 'caller'
  return isClaimed && !(await isProvenRequest(facts, connector.spiffeId))
    ? `${String(facts['caller'])} did not just sign the request of ${exchange}`
    : null
}

/**
 * Which connector opened which exchange: only the one that recorded an intent may record how it
 * ended, and nobody may record an exchange in which it is not the receiver, but for what it refused
 * its own agent.
 */
class ExchangeOwners {
  readonly #owners = new Map<string, string>()
  /** By connector, so that none can push out what is open at another. */
  readonly #open = new Map<string, Set<string>>()
  /** Exchanges of entries that are being recorded. */
  readonly #held = new Set<string>()

  hold(entries: readonly MeshEntry[], connector: Caller): string | null {
    const seen = new Set<string>()
    for (const entry of entries) {
      const fault = seen.has(entry.exchange)
        ? `${entry.exchange} occurs twice`
        : this.#fault(entry, connector)
      if (fault !== null) return fault
      seen.add(entry.exchange)
    }
    for (const exchange of seen) this.#held.add(exchange)
    return null
  }

  settle(
    entries: readonly MeshEntry[],
    { spiffeId }: Caller,
    recorded: ReadonlySet<MeshEntry>,
  ): void {
    for (const entry of entries) {
      const { kind, exchange } = entry
      this.#held.delete(exchange)
      if (!recorded.has(entry)) continue
      if (kind === 'intent') this.#take(exchange, spiffeId)
      else this.#leave(exchange)
    }
  }

  #fault({ kind, exchange, facts }: MeshEntry, connector: Caller): string | null {
    const owner = this.#owners.get(exchange)
    if (this.#held.has(exchange)) return `${exchange} is being recorded`
    if (isOpening(kind)) {
      if (owner !== undefined) return `${exchange} is open already`
      const isOwnRefusal = kind === 'refusal' && facts['caller'] === connector.spiffeId
      return isOwnRefusal || facts['receiver'] === connector.name
        ? null
        : `${connector.name} is not the receiver of ${exchange}`
    }
    return owner === connector.spiffeId ? null : `${exchange} is not open at ${connector.name}`
  }

  #take(exchange: string, owner: string): void {
    const open = this.#open.get(owner) ?? new Set()
    this.#open.set(owner, open.add(exchange))
    this.#owners.set(exchange, owner)
    const [oldest] = open
    if (open.size > openExchangesMax && oldest !== undefined) this.#leave(oldest)
  }

  #leave(exchange: string): void {
    const owner = this.#owners.get(exchange) ?? ''
    const open = this.#open.get(owner)
    open?.delete(exchange)
    if (open?.size === 0) this.#open.delete(owner)
    this.#owners.delete(exchange)
  }
}

import { equalBytes, type MeshEntry, parseSpiffeId, timeOfId } from '@countersign/protocol'
import type { Caller } from '../../identity/caller.ts'
import type { OpenedEntry } from '../../ledger/ledger.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Rooms } from '../../pipeline/enforce.ts'
import { ExchangeClaims, isOpening } from './exchange-claims.ts'

/** An exchange is recorded as it begins: a request may take a minute to arrive, and clocks differ. */
const begunWindowMs = 300_000

export interface EntryChecksOptions {
  readonly rooms: Pick<Rooms, 'authorization'>
  /** Whether the caller that `facts` name signed this request for `producer`; once for each entry. */
  isProvenRequest(facts: MeshEntry['facts'], producer: string): Promise<boolean>
  readonly ledger: {
    explain(exchange: string): Promise<readonly OpenedEntry[]>
    openProducer(exchange: string): string | null
  }
}

/** What a connector may put on record (docs/protocol.md, "Mesh control"). */
export interface EntryChecks {
  /**
   * Holds the exchanges of all entries for `connector` until `release`.
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
  /** Called once the admitted entries are durable, or will never be. */
  release(): void
}

export function createEntryChecks(options: EntryChecksOptions): EntryChecks {
  const claims = new ExchangeClaims((exchange) => options.ledger.openProducer(exchange))
  return {
    async claim(entries, connector, now) {
      // Held before anything is waited for, so that two claims cannot both find an exchange free.
      const fault = findPretence(entries) ?? claims.hold(entries, connector)
      if (fault !== null) return new Refusal('NOT_PERMITTED', fault)
      const release = (): void => claims.release(entries)
      try {
        const claim = await examine({ ...options, claims }, entries, { connector, now })
        if (claim.admitted.size > 0 || claim.refusal === null) return { ...claim, release }
        release()
        return claim.refusal
      } catch (cause) {
        release()
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
  options: EntryChecksOptions & { readonly claims: ExchangeClaims },
  entries: readonly MeshEntry[],
  recording: Recording,
): Promise<Omit<Claim, 'release'>> {
  const admitted = new Set<MeshEntry>()
  let refusal: Refusal | null = null
  for (const entry of entries) {
    const fault =
      timeFault(entry, recording) ??
      options.claims.closingFault(entry, recording.connector) ??
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

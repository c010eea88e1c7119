import type { Clock } from '../lib/clock.ts'

/**
 * Renewals of one certificate that may be renewed themselves. An answer can be lost several times;
 * with more, the oldest ends.
 */
const renewalsMax = 8
/** Earlier certificates of one agent that still carry streams. */
const carryingMax = 64
/** As many as the directory may hold. */
const agentsMax = 100_000
/** A stream in the mesh lives no longer after the end of the certificate that began it. */
const forgetMs = 65 * 60_000

/** A certificate by the hex SHA-256 of its DER form, with its end. */
export interface IssuedLeaf {
  readonly fingerprint: string
  readonly expiresAt: number
}

/**
 * The certificates of one agent: a single line, and at its end the renewals that have yet to
 * arrive.
 */
interface Lineage {
  /** Before `newest`, each renewed to the next, by fingerprint with their ends, oldest first. */
  readonly earlier: Map<string, number>
  /** The last that is known to have arrived. */
  newest: IssuedLeaf
  /** The renewals of `newest`, by fingerprint with their ends, oldest first. */
  readonly renewals: Map<string, number>
}

/**
 * Holds the one line of certificates of each agent, so that a stream that began under the first
 * goes on for as long as the last is good. A certificate is renewed only by its place in that line:
 * at its end, or among the renewals of the one at its end. Any other certificate of an agent with a
 * line is refused, also one that was forgotten, so that no number of renewals opens a second line.
 * Only a renewal by the holder of the certificate before counts: enrolling again begins anew. Kept
 * in memory, since no stream outlives the process; the first renewal after a start begins a line.
 */
export class Renewals {
  readonly #clock: Pick<Clock, 'now'>
  readonly #lineages = new Map<string, Lineage>()
  #changes = 0

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  /** Counts renewals and enrolments, so that connectors are sent what changed. */
  get changes(): number {
    return this.#changes
  }

  enrolled(spiffeId: string, leaf: IssuedLeaf): void {
    this.#changes += 1
    this.#keep(spiffeId, leaf)
  }

  /**
   * Reports whether a certificate may be renewed. It may be renewed again, since the answer can be
   * lost. Once one of its renewals is renewed itself, that one has arrived: the certificate before
   * it and the other renewals end there. Of two holders of one key, one is left.
   */
  mayRenew(spiffeId: string, fingerprint: string): boolean {
    const lineage = this.#lineages.get(spiffeId)
    if (lineage === undefined) return true
    return lineage.newest.fingerprint === fingerprint || lineage.renewals.has(fingerprint)
  }

  /** False, with nothing changed, for a certificate that may not be renewed. */
  renewed(spiffeId: string, from: IssuedLeaf, to: IssuedLeaf): boolean {
    if (!this.mayRenew(spiffeId, from.fingerprint)) return false
    this.#changes += 1
    const lineage = this.#lineages.get(spiffeId) ?? this.#keep(spiffeId, from)
    if (lineage.newest.fingerprint !== from.fingerprint) arrive(lineage, from)
    lineage.renewals.set(to.fingerprint, to.expiresAt)
    keepLast(lineage.renewals, renewalsMax)
    forget(lineage, this.#clock.now())
    // The lineage renewed longest ago is forgotten first, and not the one enrolled first.
    this.#lineages.delete(spiffeId)
    this.#lineages.set(spiffeId, lineage)
    return true
  }

  /**
   * The latest end of what a certificate was renewed to, in Unix milliseconds; 0 for a certificate
   * that was not renewed. A superseded renewal is extended by nothing that was renewed next to it.
   */
  untilOf(spiffeId: string, fingerprint: string): number {
    const lineage = this.#lineages.get(spiffeId)
    if (lineage === undefined) return 0
    const { newest, earlier } = lineage
    const isOfLine = newest.fingerprint === fingerprint || earlier.has(fingerprint)
    return isOfLine ? endOf(lineage) : (lineage.renewals.get(fingerprint) ?? 0)
  }

  /**
   * Certificates that were renewed and can still carry a stream, by fingerprint, for connectors.
   */
  announced(now: number): Readonly<Record<string, number>> {
    const found: [string, number][] = []
    for (const lineage of this.#lineages.values()) {
      const until = endOf(lineage)
      const { newest, earlier } = lineage
      for (const [fingerprint, expiresAt] of [...earlier, entryOf(newest)]) {
        if (until > expiresAt && expiresAt > now - forgetMs) found.push([fingerprint, until])
      }
    }
    return Object.fromEntries(found)
  }

  #keep(spiffeId: string, newest: IssuedLeaf): Lineage {
    const lineage = { earlier: new Map(), newest, renewals: new Map() }
    this.#lineages.delete(spiffeId)
    this.#lineages.set(spiffeId, lineage)
    keepLast(this.#lineages, agentsMax)
    return lineage
  }
}

/** `leaf` is renewed, so its holder has it: the line goes on with it, and with no other. */
function arrive(lineage: Lineage, leaf: IssuedLeaf): void {
  const { earlier, newest, renewals } = lineage
  earlier.set(newest.fingerprint, newest.expiresAt)
  keepLast(earlier, carryingMax)
  renewals.clear()
  lineage.newest = leaf
}

/** Drops certificates that ended so long ago that no stream of theirs is left. */
function forget({ earlier }: Lineage, now: number): void {
  for (const [fingerprint, expiresAt] of earlier) {
    if (expiresAt <= now - forgetMs) earlier.delete(fingerprint)
  }
}

function entryOf({ fingerprint, expiresAt }: IssuedLeaf): readonly [string, number] {
  return [fingerprint, expiresAt]
}

function endOf({ newest, renewals }: Lineage): number {
  return Math.max(newest.expiresAt, ...renewals.values())
}

function keepLast(map: Map<string, unknown>, countMax: number): void {
  const [oldest] = map.keys()
  if (map.size > countMax && oldest !== undefined) map.delete(oldest)
}

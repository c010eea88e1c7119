import { createHash } from 'node:crypto'

/** Of one agent: a day of certificates that are renewed every half hour, and a few besides. */
const certificatesMax = 64
/** As many as the directory may hold. */
const agentsMax = 100_000
/** A stream in the mesh lives no longer after the end of the certificate that began it. */
const forgetMs = 65 * 60_000

/** A certificate by the hex SHA-256 of its DER form, with its end. */
export interface IssuedLeaf {
  readonly fingerprint: string
  readonly expiresAt: number
}

interface Leaf {
  readonly expiresAt: number
  /** Fingerprint of the certificate that it was renewed from; null for the first that is known. */
  readonly from: string | null
}

interface Lineage {
  /** Certificates by fingerprint, each renewed from one before, oldest first. */
  readonly leaves: Map<string, Leaf>
  /** Those that may not be renewed any more. */
  readonly closed: Set<string>
  /** The end of the newest. */
  until: number
}

/**
 * Which certificate was renewed to which, so that what began under the first goes on for as long as the
 * last is good. Only a renewal by the holder of the certificate before counts: enrolling again begins
 * anew, and whoever still holds the earlier keys gains nothing by renewing. Kept in memory, since
 * no stream outlives the process.
 */
export class Renewals {
  readonly #lineages = new Map<string, Lineage>()
  #changes = 0

  /** Counts what was renewed or enrolled, for those who pass it on. */
  get changes(): number {
    return this.#changes
  }

  enrolled(spiffeId: string, leaf: IssuedLeaf): void {
    this.#changes += 1
    this.#lineages.delete(spiffeId)
    this.#keep(spiffeId, leaf)
  }

  /**
   * Whether a certificate may be renewed, which the answer can have been lost of, so that it is asked for
   * again. Once one that it was renewed to is renewed itself, it has arrived: the certificate before
   * and its other renewals end there. Of two holders of one key, one is left.
   */
  mayRenew(spiffeId: string, fingerprint: string): boolean {
    return this.#lineages.get(spiffeId)?.closed.has(fingerprint) !== true
  }

  renewed(spiffeId: string, from: IssuedLeaf, to: IssuedLeaf): void {
    const lineage = this.#lineages.get(spiffeId) ?? this.#keep(spiffeId, from)
    const leaf = lineage.leaves.get(from.fingerprint)
    if (leaf === undefined) return
    this.#changes += 1
    close(lineage, from.fingerprint, leaf.from)
    lineage.leaves.set(to.fingerprint, { expiresAt: to.expiresAt, from: from.fingerprint })
    lineage.until = Math.max(lineage.until, to.expiresAt)
    const [oldest] = lineage.leaves.keys()
    if (lineage.leaves.size > certificatesMax && oldest !== undefined) {
      lineage.leaves.delete(oldest)
      lineage.closed.delete(oldest)
    }
  }

  /** Unix milliseconds; 0 for a certificate that was not renewed. */
  untilOf(spiffeId: string, fingerprint: string): number {
    const lineage = this.#lineages.get(spiffeId)
    return lineage?.leaves.has(fingerprint) === true ? lineage.until : 0
  }

  /** What connectors have to know: what was renewed and can still carry a stream, by fingerprint. */
  announced(now: number): Readonly<Record<string, number>> {
    const found: [string, number][] = []
    for (const { leaves, until } of this.#lineages.values()) {
      for (const [fingerprint, { expiresAt }] of leaves) {
        if (until > expiresAt && expiresAt > now - forgetMs) found.push([fingerprint, until])
      }
    }
    return Object.fromEntries(found)
  }

  #keep(spiffeId: string, leaf: IssuedLeaf): Lineage {
    const lineage = {
      leaves: new Map([[leaf.fingerprint, { expiresAt: leaf.expiresAt, from: null }]]),
      closed: new Set<string>(),
      until: leaf.expiresAt,
    }
    this.#lineages.set(spiffeId, lineage)
    const [oldest] = this.#lineages.keys()
    if (this.#lineages.size > agentsMax && oldest !== undefined) this.#lineages.delete(oldest)
    return lineage
  }
}

/** `arrived` is renewed, so that the certificate before it and its other renewals are not needed. */
function close({ leaves, closed }: Lineage, arrived: string, before: string | null): void {
  if (before === null) return
  closed.add(before)
  for (const [fingerprint, { from }] of leaves) {
    if (from === before && fingerprint !== arrived) closed.add(fingerprint)
  }
}

export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex')
}

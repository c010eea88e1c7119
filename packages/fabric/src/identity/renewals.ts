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

interface Lineage {
  /** Certificates by fingerprint, each renewed from one before, oldest first. */
  readonly leaves: Map<string, number>
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

  renewed(spiffeId: string, from: IssuedLeaf, to: IssuedLeaf): void {
    const lineage = this.#lineages.get(spiffeId) ?? this.#keep(spiffeId, from)
    if (!lineage.leaves.has(from.fingerprint)) return
    this.#changes += 1
    lineage.leaves.set(to.fingerprint, to.expiresAt)
    lineage.until = Math.max(lineage.until, to.expiresAt)
    const [oldest] = lineage.leaves.keys()
    if (lineage.leaves.size > certificatesMax && oldest !== undefined) {
      lineage.leaves.delete(oldest)
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
      for (const [fingerprint, expiresAt] of leaves) {
        if (until > expiresAt && expiresAt > now - forgetMs) found.push([fingerprint, until])
      }
    }
    return Object.fromEntries(found)
  }

  #keep(spiffeId: string, leaf: IssuedLeaf): Lineage {
    const lineage = {
      leaves: new Map([[leaf.fingerprint, leaf.expiresAt]]),
      until: leaf.expiresAt,
    }
    this.#lineages.set(spiffeId, lineage)
    const [oldest] = this.#lineages.keys()
    if (this.#lineages.size > agentsMax && oldest !== undefined) this.#lineages.delete(oldest)
    return lineage
  }
}

export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex')
}

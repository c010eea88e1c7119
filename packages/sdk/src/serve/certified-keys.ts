import { verify } from 'node:crypto'
import {
  certifiedKeyId,
  type KeyCertificate,
  type KeyPurpose,
  keyCertificateFault,
  keyCertificateInput,
  MalformedError,
  parseKeyCertificate,
} from '@countersign/protocol'
import { clockSkewMs } from '@countersign/protocol/tls'
import { publicKeyOf } from '../identity/public-key.ts'
import type { FabricTrust } from '../identity/trust.ts'
import { type Clock, monotonicOf } from '../lib/clock.ts'

/** The claim of a signature: its key, and the log slot of its exchange. */
export interface ClaimedKey {
  readonly purpose: KeyPurpose
  readonly keyId: string
  readonly slot: string
  /** The field of the request that carries the certificate. */
  readonly certificate: string
}

interface Verified {
  readonly text: string
  readonly certificate: KeyCertificate
}

interface Newest extends Verified {
  /** Monotonic milliseconds of the moment at which it was first seen. */
  readonly since: number
  readonly before: Verified | null
}

/** Log slots of a fabric; its trust file has no more. */
const slotsMax = 64

/**
 * The certified keys of a fabric's processes, each verified once under the pinned certifying key.
 *
 * A process renews its key long before it ends. From the first request under a newer certificate,
 * the one before is accepted for `overlapMs`, for requests that were under way, and an older one
 * not at all: a copy of a key that was replaced signs nothing.
 */
export class CertifiedKeys {
  readonly #trust: Pick<FabricTrust, 'trustDomain' | 'slotKey'>
  readonly #clock: Clock
  readonly #overlapMs: number
  readonly #newest = new Map<string, Newest>()

  constructor(
    trust: Pick<FabricTrust, 'trustDomain' | 'slotKey'>,
    clock: Clock,
    overlapMs: number,
  ) {
    this.#trust = trust
    this.#clock = clock
    this.#overlapMs = overlapMs
  }

  /** The raw Ed25519 key of a claim, or the reason why it is not the key of this fabric. */
  find(claimed: ClaimedKey): Uint8Array | string {
    const { trustDomain } = this.#trust
    const place = `${claimed.purpose} ${claimed.slot}`
    const newest = this.#newest.get(place)
    const known = [newest, newest?.before].find((each) => each?.text === claimed.certificate)
    const found = known ?? this.#verify(claimed.certificate)
    if (typeof found === 'string') return found
    const { certificate } = found
    const { purpose, slot } = claimed
    const expected = { trustDomain, purpose, slot, now: this.#clock.now(), skewMs: clockSkewMs }
    const fault = keyCertificateFault(certificate, expected)
    if (fault !== null) return fault
    if (certifiedKeyId(certificate) !== claimed.keyId) return 'the certificate is of another key'
    const at = monotonicOf(this.#clock)
    if (newest === undefined) {
      if (this.#newest.size >= slotsMax) return 'the fabric has too many log slots'
      this.#newest.set(place, { ...found, since: at, before: null })
    } else if (certificate.serial > newest.certificate.serial) {
      this.#newest.set(place, { ...found, since: at, before: newest })
    } else if (known === undefined || (found !== newest && at - newest.since > this.#overlapMs)) {
      return 'the key was replaced'
    }
    return certificate.publicKey
  }

  #verify(text: string): Verified | string {
    try {
      const { certificate, statement, signature } = parseKeyCertificate(text)
      const certifier = publicKeyOf(this.#trust.slotKey)
      return verify(null, keyCertificateInput(statement), certifier, signature)
        ? { text, certificate }
        : 'the fabric did not certify the key'
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
      return error.message
    }
  }
}

import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import {
  KeyFault,
  type KeyProvider,
  type KeyVersion,
  newestVersion,
} from '../../keys/key-provider.ts'
import type { Clock } from '../../lib/clock.ts'

/** The name of the signing key at its provider: ECDSA P-256. */
const TOKEN_KEY = 'tokens/signing'
/**
 * For which the version before a rotation verifies: a token lives half as long, and the rest is for
 * receivers that keep the JSON Web Key Set, and for clocks.
 */
export const TOKEN_OVERLAP_MS = 600_000
/** Between two readings for a token of an unknown version: any client can make one up. */
const readPauseMs = 1_000
/**
 * After this, the versions are read again behind a token. A version that was the newest when it was
 * read retires `TOKEN_OVERLAP_MS` later at the earliest, so that a reading older than that decides
 * nothing: another replica may have rotated the key since.
 */
const refreshMs = TOKEN_OVERLAP_MS / 2

/** One version of the key that signs access tokens. */
export interface TokenKey {
  /** RFC 7638: the thumbprint of the public key. */
  readonly kid: string
  readonly version: number
  readonly publicKey: KeyObject
  /** Unix milliseconds from which on it verifies nothing; null for the newest. */
  readonly retiresAt: number | null
}

/**
 * The versions of the token key, as its provider has them. A process that issues a token reads them
 * first, so that all replicas sign with the newest; a token of a version that is not known yet
 * leads to one reading.
 */
export class TokenKeys {
  readonly #provider: KeyProvider
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>
  #known: readonly TokenKey[] = []
  #readAt = Number.NEGATIVE_INFINITY
  /** The time before the last reading that succeeded was sent. */
  #knownAt = Number.NEGATIVE_INFINITY
  #reading: Promise<readonly TokenKey[]> | null = null
  /** Of the last reading; null where it succeeded. */
  #failure: { readonly cause: unknown } | null = null

  constructor(provider: KeyProvider, clock: Pick<Clock, 'now' | 'monotonic'>) {
    this.#provider = provider
    this.#clock = clock
  }

  /** Resolves to the accepted versions, newest first. Rejects if the provider is away. */
  read(): Promise<readonly TokenKey[]> {
    const askedAt = this.#clock.monotonic()
    this.#readAt = askedAt
    this.#reading ??= this.#provider
      .open(TOKEN_KEY, 'P-256')
      .then((versions) => {
        this.#failure = null
        this.#knownAt = askedAt
        this.#known = versions.map((each) => this.#known.find(isVersion(each)) ?? tokenKey(each))
        return this.#known
      })
      .catch((cause: unknown) => {
        this.#failure = { cause }
        throw cause
      })
      .finally(() => {
        this.#reading = null
      })
    return this.#reading
  }

  /**
   * Resolves to the version of that `kid` while it is accepted; to null for any other text. Rejects
   * if the provider is away.
   */
  async find(kid: unknown): Promise<TokenKey | null> {
    const known = this.#findLately(kid)
    if (known !== null) return known
    const isPaused = this.#clock.monotonic() - this.#readAt < readPauseMs
    if (this.#known.length > 0 && isPaused && this.#reading === null) {
      // Another reading so soon would show no more: it could not be decided, and cannot yet.
      if (this.#failure !== null) throw this.#failure.cause
      return null
    }
    await this.read()
    return this.#find(kid)
  }

  /**
   * Reports whether a version that was found before is still accepted. False also where that is not
   * known without a reading: `find` decides then.
   */
  isAccepted(kid: string): boolean {
    return this.#findLately(kid) !== null
  }

  /** Signs as that version: 64 bytes, r ‖ s. Rejects if it was rotated since. */
  async sign({ version }: TokenKey, bytes: Uint8Array): Promise<Uint8Array> {
    const signed = await this.#provider.sign(TOKEN_KEY, bytes)
    if (signed.version === version) return signed.signature
    throw new KeyFault('KEY_UNAVAILABLE', `${TOKEN_KEY} was rotated meanwhile: ask again`)
  }

  /** Makes the next version, which signs from now on. Resolves to it. */
  async rotate(): Promise<TokenKey> {
    const { version: from } = newestVersion(await this.#provider.open(TOKEN_KEY, 'P-256'))
    const made = await this.#provider.rotate(TOKEN_KEY, { from, overlapMs: TOKEN_OVERLAP_MS })
    // A reading from before the rotation has the versions of then.
    await this.#reading?.catch(() => undefined)
    await this.read()
    return tokenKey(made)
  }

  #findLately(kid: unknown): TokenKey | null {
    const age = this.#clock.monotonic() - this.#knownAt
    if (age >= TOKEN_OVERLAP_MS) return null
    const isPaused = this.#clock.monotonic() - this.#readAt < readPauseMs
    // Its failure counts once the versions are too old to decide by.
    if (age >= refreshMs && !isPaused) this.read().catch(() => undefined)
    return this.#find(kid)
  }

  #find(kid: unknown): TokenKey | null {
    const found = this.#known.find((each) => each.kid === kid)
    const isOver = (found?.retiresAt ?? Number.POSITIVE_INFINITY) <= this.#clock.now()
    return found === undefined || isOver ? null : found
  }
}

const isVersion =
  ({ version, retiresAt }: KeyVersion) =>
  (known: TokenKey): boolean =>
    known.version === version && known.retiresAt === retiresAt

function tokenKey({ version, publicKey: spki, retiresAt }: KeyVersion): TokenKey {
  if (spki === null) throw new TypeError(`${TOKEN_KEY} is not a key that signs`)
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  // RFC 7638, section 3: the required members in this order.
  const kid = hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url')
  return { kid, version, publicKey, retiresAt }
}

import { createHash } from 'node:crypto'
import { equalBytes, ListenerSet } from '@countersign/protocol'
import { type TlsCredential, TrustBundles } from '@countersign/protocol/tls'
import { retrying } from '../connection/control.ts'
import { type FabricConnection, openFabricConnection } from '../connection/fabric-connection.ts'
import { RefusedError } from '../connection/refused.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { randomBelow } from '../lib/random.ts'
import { acceptGrant, enroll, type Granted, renew } from './enroll.ts'
import { findIdentity, type StoredIdentity, saveIdentity } from './identity-file.ts'
import { type Join, parseJoin } from './join.ts'
import {
  type AgentPrivateKeys,
  formatKeys,
  generateKeys,
  generateTlsKey,
  parseKeys,
} from './keys.ts'
import type { Signer } from './signing.ts'
import { type FabricTrust, fetchTrust, parseTrustDocument } from './trust.ts'

/**
 * The current identity of this agent: certificates and TLS keys change underneath; name and other
 * keys stay.
 */
export interface Identity {
  readonly url: string
  readonly spiffeId: string
  readonly trustDomain: string
  readonly name: string
  readonly trust: FabricTrust
  readonly signing: Signer
  readonly sealing: Signer
  readonly connection: FabricConnection
  /** A connection to another replica of the fabric, which the caller closes. */
  connectionTo(url: string): FabricConnection
  /** The roots as of now; the same object for the life of the agent. */
  readonly bundles: TrustBundles
  credential(): TlsCredential
  /** Unix milliseconds of the present certificate. */
  expiresAt(): number
  /** Throws IDENTITY_EXPIRED, with the failure of the last renewal as its cause. */
  assertCurrent(): void
  /** Renews now; also happens by itself at half of the lifetime. */
  renew(): Promise<void>
  /** Called with every new credential, before the old one ends. Returns what stops it. */
  onRotate(listener: (credential: TlsCredential) => void): () => void
  close(): void
}

export interface IdentityOptions {
  readonly join: string | undefined
  /** Enrols under this name only: a join string for another one is refused, and stays good. */
  readonly name?: string
  /** The fabric's address, where it is not the stored one, such as that of another replica. */
  readonly url?: string
  readonly dir: string
  readonly clock: Clock
  /**
   * Receives the failures of renewals in the background; a renewal is repeated while the
   * certificate lasts.
   */
  readonly onFault: (error: Error) => void
}

/** Opens what `dir` holds, or enrols; renews first when half of the lifetime has passed. */
export async function openIdentity(options: IdentityOptions): Promise<Identity> {
  const { dir, clock } = options
  const stored = await storedIdentity(options)
  const keys = readKeys(stored)
  const trust = parseTrustDocument(stored.trust)
  const { trustDomain } = trust
  const granted = await acceptGrant(stored.granted, { keys, trustDomain, clock })
  const identity = new LiveIdentity({ stored, keys, trust, granted, options })
  try {
    if (clock.now() >= renewalTime(granted)) await identity.renewAtStart()
  } catch (error) {
    identity.close()
    throw error
  }
  identity.schedule()
  return identity
  async function storedIdentity({ join, url }: IdentityOptions): Promise<StoredIdentity> {
    const found = await findIdentity(dir)
    if (found !== null && found.granted !== null) {
      const present = url === undefined ? found : { ...found, url }
      return join === undefined ? present : moved(found, join)
    }
    if (join === undefined) throw new AgentError('JOIN_MISSING', dir)
    return enrolled(parseJoin(join), found, options)
  }
}

/**
 * The same fabric may have another address by now; another fabric is not what `stored` is good for.
 */
function moved(stored: StoredIdentity, text: string): StoredIdentity {
  const join = parseJoin(text)
  const isSame = parseTrustDocument(stored.trust).roots.some((root) => isPinned(root, join))
  if (!isSame) throw new AgentError('ROOT_MISMATCHED', 'this directory belongs to another fabric')
  return { ...stored, url: join.url }
}

async function enrolled(
  join: Join,
  found: StoredIdentity | null,
  { dir, name, clock }: IdentityOptions,
): Promise<StoredIdentity> {
  const { document } = await fetchTrust(join, clock)
  const { trustDomain, roots, enrollmentKey } = parseTrustDocument(document)
  if (enrollmentKey === null) throw new AgentError('TRUST_MALFORMED', 'enrollmentKey is missing')
  const keys = found === null ? generateKeys() : readKeys(found)
  const draft: StoredIdentity = {
    v: 1,
    url: join.url,
    trust: document,
    keys: formatKeys(keys),
    granted: null,
  }
  // The keys are durable before the token is spent: a crash after this line can be repeated with
  // the same keys, so a fabric that already granted them may grant them again.
  await saveIdentity(dir, draft)
  const pinned = new TrustBundles()
  pinned.set(trustDomain, { sequence: 0, roots: roots.filter((root) => isPinned(root, join)) })
  const connection = openFabricConnection({ url: join.url, trustDomain, bundles: pinned, clock })
  try {
    const answer = await enroll(connection, keys, { token: join.token, name, enrollmentKey })
    const { bundles } = await acceptGrant(answer, { keys, trustDomain, clock })
    if (bundles.find(trustDomain)?.roots.some((root) => isPinned(root, join)) !== true) {
      throw new AgentError('ROOT_MISMATCHED', 'the grant does not lead to it')
    }
    const stored = { ...draft, granted: answer }
    await saveIdentity(dir, stored)
    return stored
  } finally {
    connection.close()
  }
}

function isPinned(root: Uint8Array, { rootSha256 }: Join): boolean {
  return equalBytes(createHash('sha256').update(root).digest(), rootSha256)
}

function readKeys(stored: StoredIdentity): AgentPrivateKeys {
  try {
    return parseKeys(stored.keys)
  } catch (cause) {
    throw cause instanceof AgentError
      ? cause
      : new AgentError('IDENTITY_DAMAGED', 'keys', { cause })
  }
}

function renewalTime({ issuedAt, expiresAt }: Granted): number {
  return issuedAt + (expiresAt - issuedAt) / 2
}

/** Node fires longer timers at once; a clock that jumps is noticed as often. */
const timerMsMax = 60 * 60 * 1000
const retryMsMin = 5_000
/** A refusal for good may still be taken back, by an operator, not within seconds. */
const refusedMsMin = 60_000

interface Parts {
  readonly stored: StoredIdentity
  readonly keys: AgentPrivateKeys
  readonly trust: FabricTrust
  readonly granted: Granted
  readonly options: IdentityOptions
}

class LiveIdentity implements Identity {
  readonly url: string
  readonly trust: FabricTrust
  readonly signing: Signer
  readonly sealing: Signer
  readonly bundles: TrustBundles
  readonly connection: FabricConnection
  readonly #parts: Parts
  readonly #listeners = new ListenerSet<TlsCredential>()
  readonly #closing = new AbortController()
  #granted: Granted
  #renewing: Promise<void> | null = null
  #failure: Error | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(parts: Parts) {
    const { stored, keys, trust, granted } = parts
    this.#parts = parts
    this.#granted = granted
    this.url = stored.url
    this.trust = trust
    this.bundles = granted.bundles
    this.signing = { keyId: granted.grant.signingKeyId, privateKey: keys.signing }
    this.sealing = { keyId: granted.grant.sealingKeyId, privateKey: keys.sealing }
    this.connection = this.connectionTo(stored.url)
  }

  get spiffeId(): string {
    return this.#granted.spiffeId
  }

  get trustDomain(): string {
    return this.#granted.trustDomain
  }

  get name(): string {
    return this.#granted.name
  }

  credential(): TlsCredential {
    return this.#granted.credential
  }

  connectionTo(url: string): FabricConnection {
    return openFabricConnection({
      url,
      trustDomain: this.trust.trustDomain,
      bundles: this.bundles,
      clock: this.#parts.options.clock,
      credential: this.#granted.credential,
    })
  }

  expiresAt(): number {
    return this.#granted.expiresAt
  }

  assertCurrent(): void {
    if (this.#closing.signal.aborted) throw new AgentError('AGENT_CLOSED')
    if (this.#parts.options.clock.now() < this.#granted.expiresAt) return
    const cause = this.#failure
    throw new AgentError('IDENTITY_EXPIRED', '', cause === null ? {} : { cause })
  }

  onRotate(listener: (credential: TlsCredential) => void): () => void {
    return this.#listeners.add(listener)
  }

  /** One renewal at a time, for all callers together. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null
    })
    return this.#renewing
  }

  /**
   * A fabric that is away does not stop an agent whose certificate still stands; a refusal does.
   */
  async renewAtStart(): Promise<void> {
    try {
      await this.renew()
    } catch (error) {
      if (error instanceof RefusedError && !error.retry) throw error
      this.assertCurrent()
    }
  }

  schedule(): void {
    if (this.#closing.signal.aborted) return
    const { clock } = this.#parts.options
    const { issuedAt, expiresAt } = this.#granted
    const dueMs = renewalTime(this.#granted) - clock.now()
    // Up to a tenth of the lifetime later, so that agents enrolled together do not renew together.
    const jitterMs = randomBelow(Math.max(1, Math.floor((expiresAt - issuedAt) / 10)))
    const leftMs = expiresAt - clock.now()
    const isRefused = this.#failure instanceof RefusedError && !this.#failure.retry
    const againMs = Math.max(isRefused ? refusedMsMin : retryMsMin, leftMs / 8)
    const waitMs = this.#failure === null ? dueMs + jitterMs : againMs
    this.#timer = setTimeout(() => this.#tick(), Math.min(Math.max(waitMs, retryMsMin), timerMsMax))
    this.#timer.unref()
  }

  close(): void {
    this.#closing.abort(new AgentError('AGENT_CLOSED'))
    clearTimeout(this.#timer)
    this.#listeners.clear()
    this.connection.close()
  }

  #tick(): void {
    const isDue = this.#parts.options.clock.now() >= renewalTime(this.#granted)
    const done = isDue ? this.renew().catch(() => undefined) : Promise.resolve()
    done.then(() => this.schedule()).catch(() => undefined)
  }

  async #renew(): Promise<void> {
    const { stored, trust, options } = this.#parts
    const { signal } = this.#closing
    const { trustDomain } = trust
    try {
      // A key of its own, so that a stolen one is of no use with the certificates that follow.
      const keys = { ...this.#parts.keys, tls: generateTlsKey() }
      const present = this.#granted.credential
      const answer = await retrying(() => renew(this.connection, keys, present, signal), signal)
      const granted = await acceptGrant(answer, { keys, trustDomain, clock: options.clock })
      if (granted.spiffeId !== this.spiffeId) {
        throw new AgentError('ANSWER_MALFORMED', 'the renewal is for another agent')
      }
      this.#adoptRoots(granted)
      // Stored first: a crash in between starts with the new certificate, never with none. The key
      // and its certificate are one write; a crash before it can renew the present certificate
      // again.
      await saveIdentity(options.dir, { ...stored, keys: formatKeys(keys), granted: answer })
      this.#granted = granted
      this.#failure = null
      this.connection.renew(granted.credential)
      this.#listeners.notify(granted.credential)
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      if (!signal.aborted) options.onFault(this.#failure)
      throw this.#failure
    }
  }

  /** An older bundle than the present one is refused by the bundles themselves. */
  #adoptRoots({ bundles }: Granted): void {
    for (const trustDomain of bundles.domains()) {
      const bundle = bundles.find(trustDomain)
      if (bundle !== null) this.bundles.set(trustDomain, bundle)
    }
    for (const known of this.bundles.domains()) {
      if (bundles.find(known) === null) this.bundles.remove(known)
    }
  }
}

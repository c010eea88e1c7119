import { readFile } from 'node:fs/promises'
import { isIssuerUrl } from '@countersign/protocol'
import type { JSONWebKeySet } from 'jose'
import type { IssuerTerms } from '../../identity/issuers.ts'
import type { Clock } from '../../lib/clock.ts'

/** Reads a JSON document. Rejects beyond its bounds. */
export type ReadJson = (url: string) => Promise<unknown>

/** Keys that are older are read again behind a token. */
const refreshMs = 10 * 60_000
/**
 * Keys that are older, because no token came, are read again before one: for as long as the issuer
 * can be reached, a key that it took back is not accepted after this.
 */
const waitMs = 2 * refreshMs
/** Keys that cannot be read again are worth nothing after this. */
const staleMs = 24 * 3_600_000
/** An unknown key, or an issuer that does not answer, costs one attempt in this time. */
const pauseMs = 30_000
const timeoutMs = 5_000
const bytesMax = 256 * 1_024
const keysMax = 64

/**
 * The keys of one issuer. A request waits for at most one attempt to read them, together with all
 * others that need it, and none while the last attempt is a moment ago.
 */
export class IssuerKeys {
  readonly #terms: Pick<IssuerTerms, 'issuer' | 'keyFile'>
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #readJson: ReadJson
  #keys: JSONWebKeySet | null = null
  #text = ''
  #version = 0
  #readAt = 0
  #askedAt: number | null = null
  #reading: Promise<void> | null = null

  constructor(
    terms: Pick<IssuerTerms, 'issuer' | 'keyFile'>,
    clock: Pick<Clock, 'monotonic'>,
    readJson: ReadJson = readJsonOverHttps,
  ) {
    this.#terms = terms
    this.#clock = clock
    this.#readJson = readJson
  }

  /**
   * Asked for with each use of a token, so that old keys are read again behind it. NaN when they
   * are so old that they must be read before the next decision: a token that they verified is
   * verified again.
   */
  get version(): number {
    if (this.#keys === null) return this.#version
    const isOver = this.#age() > staleMs || this.#isDue()
    this.#refreshOld()
    return isOver ? Number.NaN : this.#version
  }

  /** Rejects when the issuer's keys are not known, or were known too long ago. */
  async current(): Promise<JSONWebKeySet> {
    if (this.#keys === null || this.#age() > staleMs) await this.refresh()
    // Its failure counts once the keys are too old to be used.
    else if (this.#isDue()) await this.refresh().catch(() => undefined)
    else this.#refreshOld()
    if (this.#keys === null || this.#age() > staleMs) {
      throw new Error(`the keys of ${this.#terms.issuer} could not be read lately`)
    }
    return this.#keys
  }

  /** Reads the keys again, unless that was tried a moment ago. */
  async refresh(): Promise<void> {
    const now = this.#clock.monotonic()
    if (this.#reading === null && this.#isPaused()) return
    if (this.#reading === null) {
      this.#askedAt = now
      this.#reading = this.#read(now).finally(() => {
        this.#reading = null
      })
    }
    await this.#reading
  }

  #isPaused(): boolean {
    return this.#askedAt !== null && this.#clock.monotonic() - this.#askedAt < pauseMs
  }

  /** Reports whether a token has to wait for a reading, which is under way or can begin. */
  #isDue(): boolean {
    return this.#age() > waitMs && (this.#reading !== null || !this.#isPaused())
  }

  #age(): number {
    return this.#clock.monotonic() - this.#readAt
  }

  #refreshOld(): void {
    // Its failure counts once the keys are too old to be used.
    if (this.#age() > refreshMs) this.refresh().catch(() => undefined)
  }

  async #read(askedAt: number): Promise<void> {
    const { keyFile } = this.#terms
    const document =
      keyFile === null ? await this.#discover() : JSON.parse(await readFile(keyFile, 'utf8'))
    const keys = parseKeySet(document)
    const text = JSON.stringify(keys)
    if (text !== this.#text) this.#version += 1
    this.#text = text
    this.#keys = keys
    this.#readAt = askedAt
  }

  /** OpenID Connect Discovery, section 4. */
  async #discover(): Promise<unknown> {
    const { issuer } = this.#terms
    const found = await this.#readJson(
      `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
    )
    if (typeof found !== 'object' || found === null) throw new TypeError('no discovery document')
    // Section 4.3: another issuer could otherwise be asked for its keys in the name of this one.
    if (!('issuer' in found) || found.issuer !== issuer) {
      throw new TypeError(`the discovery document of ${issuer} is that of another issuer`)
    }
    const url = 'jwks_uri' in found ? found.jwks_uri : null
    if (!isIssuerUrl(url)) throw new TypeError('jwks_uri is not an https URL without a query')
    return this.#readJson(url)
  }
}

function parseKeySet(document: unknown): JSONWebKeySet {
  const isObject = typeof document === 'object' && document !== null
  const keys: unknown = isObject && 'keys' in document ? document.keys : null
  if (!Array.isArray(keys) || keys.length > keysMax) {
    throw new TypeError(`not a JSON Web Key Set of at most ${keysMax} keys`)
  }
  return { keys: keys as JSONWebKeySet['keys'] }
}

async function readJsonOverHttps(url: string): Promise<unknown> {
  const response = await fetch(url, {
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!response.ok || response.body === null) throw new Error(`${url} answered ${response.status}`)
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body) {
    size += part.length
    if (size > bytesMax) throw new Error(`${url} sent more than ${bytesMax} bytes`)
    parts.push(part)
  }
  return JSON.parse(Buffer.concat(parts).toString('utf8'))
}

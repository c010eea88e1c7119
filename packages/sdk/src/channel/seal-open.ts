import { type KeyObject, verify } from 'node:crypto'
import {
  BatchProofs,
  batchSignatureInput,
  equalBytes,
  messageDigest,
  messageSignatureInput,
  parseSealedContent,
  parseSealedMessage,
  type SealedHeader,
  type SealedMessage,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { sha256 } from '../lib/sha256.ts'
import { isSealSuite } from './hpke.ts'
import { SealFailure } from './seal-failure.ts'
import { KeyBook, type KeySource, sessionName } from './seal-key-book.ts'
import { decrypt, type MessageKey, type SealingIdentity } from './seal-keys.ts'
import { ReplayWindow } from './seal-window.ts'
import { SharedAnswers } from './shared-answers.ts'

/**
 * Sessions whose keys and windows are kept; the oldest goes first, its key is then fetched again.
 */
const sessionsMax = 4096
/**
 * Batches whose signature was verified lately: the other messages of one cost only a hash or two.
 */
const batchesMax = 64

export interface OpenerOptions {
  readonly identity: SealingIdentity
  readonly channel: string
  readonly source: KeySource
  readonly clock: Clock
}

export interface Opened {
  readonly header: SealedHeader
  readonly body: Uint8Array
  readonly signature: Uint8Array
}

/**
 * Opens what members sealed for this receiver. Verifies first and decrypts last, so that nothing
 * that an unauthenticated sender wrote reaches the cipher.
 */
export interface Opener {
  /** The content, or the reason why not. Rejects when `source` does, or when
   * a signature could not be computed: nothing is decided then. */
  open(sealed: Uint8Array): Promise<Opened | SealFailure>
  /**
   * The receiver is done with it. Only from here on is a second copy a replay: a redelivery of
   * something unfinished is not. The memory of it ends with the process.
   */
  complete(opened: Opened): void
}

export function createOpener(options: OpenerOptions): Opener {
  return new ChannelOpener(options)
}

interface Session {
  readonly key: MessageKey
  readonly window: ReplayWindow
}

class ChannelOpener implements Opener {
  readonly #options: OpenerOptions
  readonly #book: KeyBook
  readonly #sessions = new Map<string, Session>()
  readonly #arriving = new SharedAnswers<string, Session | SealFailure>()
  readonly #batches = new Map<string, BatchProofs>()

  constructor(options: OpenerOptions) {
    this.#options = options
    this.#book = new KeyBook(options.identity, options.source)
  }

  async open(sealed: Uint8Array): Promise<Opened | SealFailure> {
    const message = parseSealedMessage(sealed)
    if (message === null) return new SealFailure('MALFORMED', '')
    const { header } = message
    const { channel, identity, clock } = this.#options
    if (header.channel !== channel || header.trustDomain !== identity.trustDomain) {
      return new SealFailure('BAD_SIGNATURE', 'sealed for another channel')
    }
    const { epoch } = header
    const descriptor = this.#book.knownDescriptor(epoch) ?? (await this.#book.findDescriptor(epoch))
    if (descriptor === null) return new SealFailure('WRONG_EPOCH', `epoch ${header.epoch}`)
    if (!isSealSuite(header.suite) || !descriptor.suites.includes(header.suite)) {
      return new SealFailure('SUITE_REFUSED', `suite ${header.suite}`)
    }
    const signed = this.#isSigned(message, messageDigest(message.core, sha256))
    if (!(signed === true || (await signed))) return new SealFailure('BAD_SIGNATURE', header.sender)
    if (clock.now() > header.notAfter) return new SealFailure('EXPIRED', '')
    const name = sessionName(header)
    const session = this.#sessions.get(name) ?? (await this.#findSession(name, header))
    if (session instanceof SealFailure) return session
    if (session.window.isCompleted(header.sequence)) return new SealFailure('REPLAYED', '')
    const body = unseal(message, session.key)
    if (body instanceof SealFailure) return body
    return { header, body, signature: message.signature }
  }

  complete({ header }: Opened): void {
    this.#sessions.get(sessionName(header))?.window.complete(header.sequence)
  }

  #isSigned(message: SealedMessage, digest: Uint8Array): boolean | Promise<boolean> {
    const { header, signature } = message
    const key = this.#book.findSigningKey(header)
    if (key === null) return false
    const { batch } = message
    if (batch === null) return verifyInPool(messageSignatureInput(digest), key, signature)
    // The signer is part of the name: a batch of one member proves nothing about another.
    const signer = `${header.epoch} ${header.sender} ${header.signingKeyId} ${batch.count}`
    const name = `${signer} ${Buffer.from(signature).toString('latin1')}`
    const known = this.#batches.get(name)
    const proofs = known ?? new BatchProofs(sha256)
    const proved = proofs.prove(digest, batch, (root) =>
      verify(null, batchSignatureInput(batch.count, root), key, signature),
    )
    // Kept only once it was signed, so that forgeries push nothing out.
    if (proved && known === undefined) keep(this.#batches, name, proofs, batchesMax)
    return proved
  }

  async #findSession(name: string, header: SealedHeader): Promise<Session | SealFailure> {
    // With the suite: a header that lies about it must fail by itself, not with the session's
    // others.
    const question = `${header.suite} ${name}`
    return this.#arriving.ask(question, () => this.#beginSession(name, header))
  }

  async #beginSession(name: string, header: SealedHeader): Promise<Session | SealFailure> {
    const key = await this.#book.findMessageKey(header)
    if (key instanceof SealFailure) return key
    const session = { key, window: new ReplayWindow() }
    keep(this.#sessions, name, session, sessionsMax)
    return session
  }
}

/**
 * In a thread of libuv's pool: the signature costs more than all else that is done for a message.
 * Rejects when it could not be computed; then nothing is decided.
 */
function verifyInPool(input: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(null, input, key, signature, (error, isValid) => {
      if (error === null) resolve(isValid)
      else reject(error)
    })
  })
}

function unseal(message: SealedMessage, key: MessageKey): Uint8Array | SealFailure {
  const { header } = message
  if (!equalBytes(message.commitment, key.commitment)) {
    return new SealFailure('UNDECRYPTABLE', 'sealed under another key')
  }
  const plaintext = decrypt(message, key, header.sequence)
  const content = plaintext === null ? null : parseSealedContent(plaintext)
  if (content === null) return new SealFailure('UNDECRYPTABLE', '')
  const agrees =
    content.sender === header.sender &&
    content.channel === header.channel &&
    content.trustDomain === header.trustDomain &&
    content.contentType === header.contentType
  return agrees ? content.body : new SealFailure('UNDECRYPTABLE', 'header and content differ')
}

/** A map keeps the order of insertion, so its first key is the oldest. */
function keep<V>(map: Map<string, V>, key: string, value: V, max: number): void {
  const oldest = map.keys().next()
  if (map.size >= max && oldest.done === false) map.delete(oldest.value)
  map.set(key, value)
}

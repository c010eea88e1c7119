import { type KeyObject, verify } from 'node:crypto'
import {
  type ChannelDescriptor,
  type ChannelMember,
  equalBytes,
  keyWrapInfo,
  parseKeyMessage,
  type SealedHeader,
  type SignedKeyMessage,
  toHex,
} from '@countersign/protocol'
import { publicKeyOf } from '../identity/public-key.ts'
import { isSealSuite, unwrapSecret } from './hpke.ts'
import { SealFailure } from './seal-failure.ts'
import {
  deriveMessageKey,
  type KeyScope,
  type MessageKey,
  rawSealingKey,
  type SealingIdentity,
} from './seal-keys.ts'
import { SharedAnswers } from './shared-answers.ts'

const epochsMax = 64

/**
 * The source that the book consults when a message names an epoch or a session that it has not met.
 */
export interface KeySource {
  /**
   * The descriptor of that epoch, its signature verified; null when there is none for this
   * receiver.
   */
  findDescriptor(epoch: number): Promise<ChannelDescriptor | null>
  /** Every key message of that epoch, unverified. */
  keyMessages(epoch: number): Promise<readonly Uint8Array[]>
}

interface Epoch {
  readonly descriptor: ChannelDescriptor
  readonly signingKeys: Map<string, KeyObject>
  readonly keyMessages: Map<string, Uint8Array>
}

/** Names one sender's session: another sender cannot put a key under it. */
export function sessionName({ epoch, sender, session }: KeyNamed): string {
  return `${epoch} ${sender} ${toHex(session)}`
}

type KeyNamed = Pick<KeyScope, 'epoch' | 'sender' | 'session'>

/** The keys of one channel, as far as this receiver may know them. */
export class KeyBook {
  readonly #identity: SealingIdentity
  readonly #source: KeySource
  /** At most `epochsMax`; the oldest goes first and is fetched again when it is needed. */
  readonly #epochs = new Map<number, Epoch>()
  readonly #arriving = new SharedAnswers<number, Epoch | null>()

  constructor(identity: SealingIdentity, source: KeySource) {
    this.#identity = identity
    this.#source = source
  }

  /** Null when this receiver has no part in it. */
  async findDescriptor(number: number): Promise<ChannelDescriptor | null> {
    return (await this.#findEpoch(number))?.descriptor ?? null
  }

  /** The descriptor, if it was found before and is still kept. */
  knownDescriptor(number: number): ChannelDescriptor | null {
    return this.#epochs.get(number)?.descriptor ?? null
  }

  /** The key that `sender` signs with in an epoch that `findDescriptor` gave. */
  findSigningKey(from: Pick<SealedHeader, 'epoch' | 'sender' | 'signingKeyId'>): KeyObject | null {
    const epoch = this.#epochs.get(from.epoch)
    const member = epoch?.descriptor.members.find(({ name }) => name === from.sender)
    if (epoch === undefined || member === undefined) return null
    return member.signing.keyId === from.signingKeyId ? signingKey(epoch, member) : null
  }

  /** The key of the session that a verified header names. */
  async findMessageKey(header: SealedHeader): Promise<MessageKey | SealFailure> {
    const epoch = await this.#findEpoch(header.epoch)
    if (epoch === null) return new SealFailure('WRONG_EPOCH', '')
    const name = sessionName(header)
    if (!epoch.keyMessages.has(name)) await this.#learn(header.epoch, epoch)
    const bytes = epoch.keyMessages.get(name)
    const signed = bytes === undefined ? null : parseKeyMessage(bytes)
    if (signed === null) return new SealFailure('UNKNOWN_KEY', 'not in the key log')
    return this.#unwrap(signed, header)
  }

  async #findEpoch(number: number): Promise<Epoch | null> {
    const known = this.#epochs.get(number)
    return known ?? this.#arriving.ask(number, () => this.#fetchEpoch(number))
  }

  async #fetchEpoch(number: number): Promise<Epoch | null> {
    const descriptor = await this.#source.findDescriptor(number)
    if (descriptor === null || descriptor.epoch !== number) return null
    if (!descriptor.members.some(({ name }) => name === this.#identity.name)) return null
    const epoch = { descriptor, signingKeys: new Map(), keyMessages: new Map() }
    const oldest = this.#epochs.keys().next()
    if (this.#epochs.size >= epochsMax && oldest.done === false) this.#epochs.delete(oldest.value)
    this.#epochs.set(number, epoch)
    return epoch
  }

  async #learn(number: number, epoch: Epoch): Promise<void> {
    for (const bytes of await this.#source.keyMessages(number)) {
      const message = parseKeyMessage(bytes)?.message
      if (message?.epoch === number) epoch.keyMessages.set(sessionName(message), bytes)
    }
  }

  async #unwrap(signed: SignedKeyMessage, header: SealedHeader): Promise<MessageKey | SealFailure> {
    const { message } = signed
    if (!isSameScope(message, header)) return new SealFailure('UNKNOWN_KEY', 'for another place')
    const signer = this.findSigningKey(message)
    if (signer === null || !verify(null, signed.signedBytes, signer, signed.signature)) {
      return new SealFailure('UNKNOWN_KEY', 'the key message is not signed by the sender')
    }
    const { name, sealing } = this.#identity
    const mine = message.keys.find(({ member }) => member === name)
    if (mine === undefined || mine.sealingKeyId !== sealing.keyId) {
      return new SealFailure('UNKNOWN_KEY', 'not wrapped to the key of this receiver')
    }
    if (!isSealSuite(message.suite)) return new SealFailure('SUITE_REFUSED', '')
    const wrap = { suite: message.suite, info: keyWrapInfo(message, mine) }
    const secret = await unwrapSecret(mine, rawSealingKey(sealing.privateKey), wrap)
    if (secret === null) return new SealFailure('UNKNOWN_KEY', 'the wrapped key does not open')
    const key = deriveMessageKey(secret, message)
    return equalBytes(key.commitment, message.commitment)
      ? key
      : new SealFailure('UNKNOWN_KEY', 'the sender committed to another key')
  }
}

function signingKey(epoch: Epoch, member: ChannelMember): KeyObject {
  const known = epoch.signingKeys.get(member.name)
  if (known !== undefined) return known
  const key = publicKeyOf(member.signing.publicKey)
  epoch.signingKeys.set(member.name, key)
  return key
}

function isSameScope(a: KeyScope, b: KeyScope): boolean {
  return (
    a.suite === b.suite &&
    a.epoch === b.epoch &&
    a.trustDomain === b.trustDomain &&
    a.channel === b.channel &&
    a.sender === b.sender &&
    equalBytes(a.session, b.session)
  )
}

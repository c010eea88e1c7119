import { sign } from 'node:crypto'
import {
  type AckVerdict,
  ackDigest,
  ackSignatureInput,
  LEASE_MESSAGES_MAX,
  type LeasedFrame,
  parseSealedMessage,
  type SealedHeader,
} from '@countersign/protocol'
import { RefusedError } from '../connection/refused.ts'
import type { Clock } from '../lib/clock.ts'
import { sha256 } from '../lib/sha256.ts'
import type { ChannelCalls } from './channel-calls.ts'
import { SealFailure } from './seal-failure.ts'
import type { SealingIdentity } from './seal-keys.ts'
import { createOpener, type Opened, type Opener } from './seal-open.ts'

/** Another member of the group may have been there in that epoch; this one comes back for it. */
const wrongEpochRetryMs = 1000
const reasonBytesMax = 200

export interface ReceiveOptions {
  /** Receivers of one group share its messages; every group sees all of them. */
  readonly group: string
  readonly countMax: number
  /** Time for which the messages are ours before the broker gives them to the next receiver. */
  readonly leaseMs: number
  readonly waitMs: number
}

/**
 * An opened message. Settle it exactly once, before `leaseUntil`; what is not settled comes again.
 */
export interface ReceivedMessage {
  readonly body: Uint8Array
  /** The name of the agent that sealed it: verified, not claimed. */
  readonly sender: string
  readonly header: SealedHeader
  readonly offset: number
  /** From 1. */
  readonly attempt: number
  /** Unix milliseconds, by the broker's clock. */
  readonly leaseUntil: number
  /** Acknowledges the message. Throws LEASE_LOST if another receiver has it by now. */
  ack(): Promise<void>
  /**
   * Returns it for redelivery after `delayMs`; at the channel's cap of attempts it is
   * dead-lettered.
   */
  nack(delayMs?: number): Promise<void>
  /** Dead-letters it, with the reason (printable ASCII, cut at 200 characters). */
  reject(reason: string): Promise<void>
}

interface Verdict {
  readonly frame: LeasedFrame
  readonly messageId: string
  readonly senderSignature: Uint8Array
  readonly verdict: AckVerdict
  readonly delayMs: number
  readonly reason: string
}

export interface ReceiverOptions {
  readonly calls: ChannelCalls
  readonly identity: SealingIdentity
  readonly channel: string
  readonly group: string
  readonly clock: Clock
}

/**
 * Leases, opens and settles for one group. Messages that cannot be opened go to the dead letters
 * automatically.
 */
export class ChannelReceiver {
  readonly #options: ReceiverOptions
  readonly #opener: Opener
  readonly #settling: SettlementQueue
  /**
   * Key logs fetched in this round: however many unknown sessions it has, each epoch is asked once.
   */
  #keyLogs = new Map<number, Promise<readonly Uint8Array[]>>()

  constructor(options: ReceiverOptions) {
    this.#options = options
    const { calls, identity, channel, clock } = options
    const source = {
      findDescriptor: (epoch: number) => calls.findDescriptor(epoch),
      keyMessages: (epoch: number) => {
        const known = this.#keyLogs.get(epoch) ?? calls.keyMessages(epoch)
        this.#keyLogs.set(epoch, known)
        return known
      },
    }
    this.#opener = createOpener({ identity, channel, source, clock })
    this.#settling = new SettlementQueue(options)
  }

  async receive({
    countMax,
    leaseMs,
    waitMs,
  }: ReceiveOptions): Promise<readonly ReceivedMessage[]> {
    this.#keyLogs = new Map()
    const { calls, group } = this.#options
    const frames = await calls.lease({ group, count: countMax, leaseMs, waitMs })
    const received: ReceivedMessage[] = []
    const failed: Promise<void>[] = []
    const answers = await Promise.all(frames.map(({ sealed }) => this.#opener.open(sealed)))
    for (const [i, frame] of frames.entries()) {
      const opened = answers[i]
      if (opened === undefined) continue
      if (opened instanceof SealFailure) failed.push(this.#discard(frame, opened))
      else received.push(this.#toReceived(frame, opened))
    }
    // Messages that could not be settled come again, and fail again; they must not cost us the good
    // ones.
    await Promise.allSettled(failed)
    return received
  }

  #toReceived(frame: LeasedFrame, opened: Opened): ReceivedMessage {
    const { header, body, signature } = opened
    const { messageId, sender } = header
    const settle = (verdict: AckVerdict, delayMs: number, reason: string) =>
      this.#settling.add({ frame, messageId, senderSignature: signature, verdict, delayMs, reason })
    return {
      body,
      sender,
      header,
      offset: frame.offset,
      attempt: frame.attempt,
      leaseUntil: frame.leaseUntil,
      ack: async () => {
        await settle('ack', 0, '')
        // After the broker has it: were it before, and the broker did not, its redelivery would
        // look like a replay.
        this.#opener.complete(opened)
      },
      nack: (delayMs = 0) => settle('nack', delayMs, ''),
      reject: (reason) => settle('reject', 0, printable(reason)),
    }
  }

  async #discard(frame: LeasedFrame, failure: SealFailure): Promise<void> {
    const message = parseSealedMessage(frame.sealed)
    // There is nothing to countersign; the cap of attempts ends it.
    if (message === null) return
    const isOthers = failure.code === 'WRONG_EPOCH'
    const reason = failure.detail === '' ? failure.code : `${failure.code}: ${failure.detail}`
    await this.#settling.add({
      frame,
      messageId: message.header.messageId,
      senderSignature: message.signature,
      verdict: isOthers ? 'nack' : 'reject',
      delayMs: isOthers ? wrongEpochRetryMs : 0,
      reason: isOthers ? '' : printable(reason),
    })
  }
}

interface Waiting {
  readonly verdict: Verdict
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Gathers what is settled in one turn under one countersignature and into one request. */
class SettlementQueue {
  readonly #options: ReceiverOptions
  #waiting: Waiting[] = []

  constructor(options: ReceiverOptions) {
    this.#options = options
  }

  add(verdict: Verdict): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ verdict, resolve, reject })
      if (this.#waiting.length === 1) setImmediate(() => this.#flush())
    })
  }

  #flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (let i = 0; i < waiting.length; i += LEASE_MESSAGES_MAX) {
      void this.#send(waiting.slice(i, i + LEASE_MESSAGES_MAX))
    }
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    try {
      const settled = await this.#settle(batch.map(({ verdict }) => verdict))
      for (const [i, { resolve, reject }] of batch.entries()) {
        if (settled[i] === true) resolve()
        else reject(leaseLost())
      }
    } catch (error) {
      // One message that is gone makes the broker refuse the whole settlement; the others still
      // hold.
      const isLost = error instanceof RefusedError && error.code === 'LEASE_LOST'
      if (isLost && batch.length > 1) {
        for (const waiting of batch) void this.#send([waiting])
      } else {
        for (const { reject } of batch) reject(error)
      }
    }
  }

  #settle(verdicts: readonly Verdict[]): Promise<readonly boolean[]> {
    const { calls, group, identity } = this.#options
    const digests = verdicts.map(({ frame, ...verdict }) =>
      ackDigest({ ...verdict, group, sealedHash: sha256(frame.sealed) }, sha256),
    )
    const items = verdicts.map(({ frame: { offset, leaseToken }, verdict, delayMs, reason }) => ({
      offset,
      leaseToken,
      verdict,
      delayMs,
      reason,
    }))
    const input = ackSignatureInput(digests, sha256)
    const countersignature = sign(null, input, identity.signing.privateKey)
    const signingKeyId = identity.signing.keyId
    return calls.settle({ group, items, signingKeyId, countersignature })
  }
}

function leaseLost(): RefusedError {
  return new RefusedError('LEASE_LOST', {
    known: true,
    status: 409,
    exchange: null,
    retryAfterMs: null,
  })
}

function printable(reason: string): string {
  const text = reason.replaceAll(/[^ -~]/g, '?').slice(0, reasonBytesMax)
  return text === '' ? 'rejected' : text
}

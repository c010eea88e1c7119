import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel } from '../../packages/sdk/src/channel/channel.ts'
import type { ReceivedMessage } from '../../packages/sdk/src/channel/channel-receiver.ts'
import { AgentError, RefusedError } from '../../packages/sdk/src/index.ts'
import type { Parties } from './load-parties.ts'
import type { LoadMessage, Observer } from './verdict-observer.ts'

/**
 * After a failure: long enough not to spin while the fabric is down, short enough to be there
 * first.
 */
const failedPauseMs = 15
/**
 * Between calls of one worker; it keeps the ledger of 200 rounds at a size that a check reads fast.
 */
const pauseMs = 12
const callTimeoutMs = 15_000
/** Receipts under load let checkpoints out that no publication has covered yet. */
const callsPerReceipt = 3
/**
 * Shorter than the time between two deaths, so that what was leased at one is given out again soon.
 */
const leaseMs = 2_000

export interface Load {
  resume(): void
  /** Resolves when nothing is under way any more. */
  pause(): Promise<void>
  close(): Promise<void>
  /** Failures in the load itself, other than the fabric being away; by message, counted. */
  readonly faults: ReadonlyMap<string, number>
}

/**
 * Runs gateway calls, mesh calls, sends and receives until it is closed, whatever becomes of them.
 */
export function startLoad(parties: Parties, observer: Observer): Load {
  const gate = new Gate()
  const faults = new Map<string, number>()
  let ended = false
  const run = async (step: () => Promise<void>): Promise<void> => {
    while (!ended) {
      await gate.enter()
      const failed = await step().then(() => null, toReason)
      if (failed !== null) faults.set(failed, (faults.get(failed) ?? 0) + 1)
      await sleep(failed === null ? pauseMs : failedPauseMs)
      gate.leave()
    }
  }
  const counter = { calls: 0 }
  const workers = [
    ...[1, 2].map(() => run(() => callGateway(parties, observer, ++counter.calls))),
    ...[1, 2].map(() => run(() => callMesh(parties, observer, ++counter.calls))),
    ...['north', 'south', 'east'].map((key) => run(sender(parties.sending, observer, key))),
    run(() => receive(parties.receiving, observer)),
  ]
  return {
    faults,
    resume: () => gate.open(),
    pause: () => gate.close(),
    async close() {
      ended = true
      gate.open()
      await Promise.all(workers)
    },
  }
}

/** Its code, so that the same failure is counted as one. */
function toReason(error: unknown): string {
  const isCoded = error instanceof RefusedError || error instanceof AgentError
  return isCoded ? error.code : String(error)
}

async function callGateway({ caller }: Parties, observer: Observer, number: number): Promise<void> {
  const call = `gateway-${number}`
  const signal = AbortSignal.timeout(callTimeoutMs)
  const reply = await caller.call('echo', { path: '/echo', json: { call }, signal })
  const answered = (await reply.json()) as { call: string }
  if (reply.status !== 200) throw new Error(`gateway: status ${reply.status}`)
  if (answered.call !== call) observer.violations.push(`${call} was answered for ${answered.call}`)
  observer.acknowledge('gateway', reply.exchange, call)
  if (number % callsPerReceipt !== 0 || reply.exchange === null) return
  observer.receiveReceipt((await caller.receipt(reply.exchange)).bytes)
}

async function callMesh(
  { connectors }: Parties,
  observer: Observer,
  number: number,
): Promise<void> {
  const call = `mesh-${number}`
  const response = await fetch(`${connectors.caller.loopbackUrl}/mesh-echo/echo`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ call }),
    signal: AbortSignal.timeout(callTimeoutMs),
  })
  const text = await response.text()
  if (response.status !== 200) {
    throw new Error(`mesh: ${response.headers.get('countersign-refusal') ?? response.status}`)
  }
  const answered = JSON.parse(text) as { call: string }
  if (answered.call !== call) observer.violations.push(`${call} was answered for ${answered.call}`)
  observer.acknowledge('mesh', response.headers.get('countersign-exchange'), call)
}

/**
 * Sends 1, 2, 3 … under one key, each until it is acknowledged, as a client that must not lose any.
 */
function sender(channel: Channel, observer: Observer, key: string): () => Promise<void> {
  let n = 1
  return async () => {
    observer.begin({ key, n })
    const body = JSON.stringify({ key, n } satisfies LoadMessage)
    const { offset } = await channel.send(body, {
      orderingKey: key,
      idempotencyKey: `${key}-${n}`,
      contentType: 'application/json',
    })
    observer.send({ key, n }, offset)
    n += 1
  }
}

async function receive(channel: Channel, observer: Observer): Promise<void> {
  const messages = await channel.receive({ group: 'workers', countMax: 16, leaseMs, waitMs: 250 })
  await Promise.all(messages.map((message) => settle(message, observer)))
}

/** Everything a receiver may do with a message; what it leaves alone comes again. */
async function settle(message: ReceivedMessage, observer: Observer): Promise<void> {
  const read = JSON.parse(Buffer.from(message.body).toString()) as LoadMessage
  observer.receive(read, message.header.messageId)
  await message.ack()
  observer.settle(read)
}

/** Takes what is left in the channel, until it is empty for longer than any lease lasts. */
export async function drain(channel: Channel, observer: Observer): Promise<void> {
  const quietMs = 2 * leaseMs
  const endsAt = performance.now() + drainMsMax
  let quietSince = performance.now()
  while (performance.now() - quietSince < quietMs) {
    if (performance.now() > endsAt) throw new Error('the channel does not become empty')
    const messages = await channel
      .receive({ group: 'workers', countMax: 64, leaseMs, waitMs: 500 })
      .catch(nullIfUndecided)
    if (messages === null || messages.length > 0) quietSince = performance.now()
    if (messages === null) {
      await sleep(undecidedPauseMs)
      continue
    }
    await Promise.allSettled(messages.map((message) => settle(message, observer)))
  }
}

const drainMsMax = 120_000
const undecidedPauseMs = 500

/** A loss of power takes used values, and what was signed until 20 s after that is not decided. */
function nullIfUndecided(cause: unknown): null {
  if (cause instanceof RefusedError && cause.code === 'UNDECIDED') return null
  throw cause
}

/** Holds the workers during an inspection, and reports when they all stand still. */
class Gate {
  #open = Promise.withResolvers<void>()
  #isOpen = false
  #inside = 0
  #empty = Promise.withResolvers<void>()

  async enter(): Promise<void> {
    while (!this.#isOpen) await this.#open.promise
    this.#inside += 1
  }

  leave(): void {
    this.#inside -= 1
    if (this.#inside === 0 && !this.#isOpen) this.#empty.resolve()
  }

  open(): void {
    this.#isOpen = true
    this.#open.resolve()
  }

  async close(): Promise<void> {
    if (this.#isOpen) {
      this.#isOpen = false
      this.#open = Promise.withResolvers()
      this.#empty = Promise.withResolvers()
    }
    if (this.#inside > 0) await this.#empty.promise
  }
}

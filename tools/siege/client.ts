import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError, RefusedError } from '../../packages/sdk/src/index.ts'
import type { Parties } from '../crash/load-parties.ts'

const callTimeoutMs = 30_000
/** Between two operations of one kind. */
const pauseMs = 150
const leaseMs = 30_000

export type Kind = 'gateway call' | 'mesh call' | 'publish' | 'lease and ack' | 'receipt'

export const KINDS: readonly Kind[] = [
  'gateway call',
  'mesh call',
  'publish',
  'lease and ack',
  'receipt',
]

/** The observations of the well-behaved client in one phase. */
export interface Seen {
  readonly latenciesMs: Readonly<Record<Kind, readonly number[]>>
  readonly failures: readonly string[]
}

/** A client that does everything right, with one operation of each kind under way at a time. */
export class Client {
  readonly #parties: Parties
  #latencies = emptyLatencies()
  #failures: string[] = []
  #isEnded = false
  readonly #loops: readonly Promise<void>[]
  #count = 0
  #exchange: string | null = null

  constructor(parties: Parties) {
    this.#parties = parties
    this.#loops = [
      this.#loop('gateway call', () => this.#callGateway()),
      this.#loop('mesh call', () => this.#callMesh()),
      this.#loop('publish', () => this.#publish()),
      this.#loop('lease and ack', () => this.#receive()),
      this.#loop('receipt', () => this.#receipt()),
    ]
  }

  get failures(): number {
    return this.#failures.length
  }

  /** Returns the observations since the last call. */
  take(): Seen {
    const seen = { latenciesMs: this.#latencies, failures: this.#failures }
    this.#latencies = emptyLatencies()
    this.#failures = []
    return seen
  }

  async close(): Promise<void> {
    this.#isEnded = true
    await Promise.all(this.#loops)
  }

  async #loop(kind: Kind, operation: () => Promise<boolean>): Promise<void> {
    while (!this.#isEnded) {
      const started = performance.now()
      try {
        if (await operation()) this.#latencies[kind].push(performance.now() - started)
      } catch (error) {
        this.#failures.push(`${kind}: ${reasonOf(error)}`)
      }
      await sleep(pauseMs)
    }
  }

  async #callGateway(): Promise<boolean> {
    const call = `siege-${this.#count++}`
    const signal = AbortSignal.timeout(callTimeoutMs)
    const reply = await this.#parties.caller.call('echo', { path: '/echo', json: { call }, signal })
    const answered = (await reply.json()) as { call: string }
    if (reply.status !== 200) throw new Error(`status ${reply.status}`)
    if (answered.call !== call) throw new Error('a wrong echo')
    this.#exchange = reply.exchange
    return true
  }

  async #callMesh(): Promise<boolean> {
    const call = `siege-${this.#count++}`
    const { loopbackUrl } = this.#parties.connectors.caller
    const response = await fetch(`${loopbackUrl}/mesh-echo/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ call }),
      signal: AbortSignal.timeout(callTimeoutMs),
    })
    const text = await response.text()
    if (response.status !== 200) {
      throw new Error(response.headers.get('countersign-refusal') ?? `status ${response.status}`)
    }
    if ((JSON.parse(text) as { call: string }).call !== call) throw new Error('a wrong echo')
    return true
  }

  async #publish(): Promise<boolean> {
    await this.#parties.sending.send(JSON.stringify({ n: this.#count++ }), {
      contentType: 'application/json',
    })
    return true
  }

  async #receive(): Promise<boolean> {
    const messages = await this.#parties.receiving.receive({
      ...{ group: 'workers', countMax: 16, leaseMs, waitMs: 0 },
    })
    for (const message of messages) await message.ack()
    return messages.length > 0
  }

  async #receipt(): Promise<boolean> {
    if (this.#exchange === null) return false
    await this.#parties.caller.receipt(this.#exchange)
    return true
  }
}

function emptyLatencies(): Record<Kind, number[]> {
  return {
    'gateway call': [],
    'mesh call': [],
    publish: [],
    'lease and ack': [],
    receipt: [],
  }
}

function reasonOf(error: unknown): string {
  const isCoded = error instanceof RefusedError || error instanceof AgentError
  return isCoded ? error.code : String(error)
}

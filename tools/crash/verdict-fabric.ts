import { fetchReceipt } from '../../packages/sdk/src/call/receipt.ts'
import type { Agent, Identity, Receipt } from '../../packages/sdk/src/index.ts'
import { CHANNEL, type Parties } from './load-parties.ts'
import type { SeededRandom } from './seeded-random.ts'
import type { AcknowledgedExchange, HandedExchange, Observer } from './verdict-observer.ts'

export interface Verdict {
  readonly violations: readonly string[]
  readonly exchanges: number
  readonly entries: number
  /** Exchanges that were delivered to receivers and never answered to the caller. */
  readonly indeterminate: number
  readonly deadLetters: number
}

interface Explained {
  readonly entries: readonly { readonly kind: string }[]
}

interface OpenEntry {
  readonly kind: string
  readonly exchange: string
  readonly index: number
  readonly facts: Readonly<Record<string, string | number | boolean>>
}

/** The check is an exchange too, and still under way when it counts. */
const ownIntents = 1
const atOnce = 12
/** Of earlier rounds, read again each time: an old entry can be lost by a later crash. */
const samplesPerRound = 8
const receiptWaitMs = 5_000

/**
 * Compares what the observer saw with what the fabric holds after a restart. The load stands still.
 */
export class FabricVerdict {
  readonly #parties: Parties
  readonly #observer: Observer
  readonly #random: SeededRandom
  readonly #earlier: AcknowledgedExchange[] = []
  #entries = 0

  constructor(parties: Parties, observer: Observer, random: SeededRandom) {
    this.#parties = parties
    this.#observer = observer
    this.#random = random
  }

  /** Asks only about what is new since it was called before, and about a sample of the rest. */
  async round(): Promise<Verdict> {
    const violations = this.#observer.violations.splice(0)
    const fault = (text: string): void => void violations.push(text)
    const entries = await this.#checkLedger(fault)
    const acknowledged = this.#observer.takeAcknowledged()
    const handed = this.#observer.takeHanded()
    const answered = new Set(acknowledged.map(({ exchange }) => exchange))
    const unanswered = handed.filter(({ exchange }) => !answered.has(exchange))
    const sample = this.#sample()
    await eachOf([...acknowledged, ...sample], (each) => this.#checkReceipt(each, fault))
    await eachOf(unanswered, (each) => this.#checkIntent(each, fault))
    const deadLetters = await this.#checkDeadLetters(fault)
    this.#earlier.push(...acknowledged)
    return {
      violations,
      entries,
      deadLetters,
      exchanges: acknowledged.length,
      indeterminate: unanswered.length,
    }
  }

  async #checkLedger(fault: (text: string) => void): Promise<number> {
    try {
      const checked = await this.#parties.admin<{ entries: number; unclosed: number }>(
        'ledger.check',
      )
      const { entries, unclosed } = checked
      if (unclosed > ownIntents) {
        const open = await this.#openIntents()
        fault(`${unclosed} intents are open, and nothing is under way: ${open.join('; ')}`)
      }
      if (entries < this.#entries) fault(`the ledger went back: ${this.#entries} to ${entries}`)
      this.#entries = entries
      await this.#observer.heads.follow((path) => this.#parties.readLog(path))
    } catch (error) {
      fault(`ledger check: ${String(error)}`)
    }
    return this.#entries
  }

  /** Of the newest entries, for the report. */
  async #openIntents(): Promise<readonly string[]> {
    const entries = await this.#parties.admin<readonly OpenEntry[]>('ledger.recent', {
      countMax: 500,
    })
    const closed = new Set(
      entries.filter(({ kind }) => kind !== 'intent').map(({ exchange }) => exchange),
    )
    return entries
      .filter(({ kind, exchange }) => kind === 'intent' && !closed.has(exchange))
      .map(({ exchange, index, facts }) => `${index} ${exchange} ${JSON.stringify(facts)}`)
  }

  /**
   * Checks that an answered exchange has a receipt that verifies offline, from its intent to its
   * outcome.
   */
  async #checkReceipt(
    { transport, exchange, what }: AcknowledgedExchange,
    fault: (text: string) => void,
  ): Promise<void> {
    const lost = `${exchange} (${what}) was acknowledged`
    try {
      const { entries, bytes } = await this.#receiptOf(transport, exchange, what)
      this.#observer.receiveReceipt(bytes)
      const kinds = entries.map(({ kind }) => kind).join(' ')
      if (kinds !== 'intent outcome') fault(`${lost}, and its receipt holds: ${kinds}`)
      const result = entries.at(-1)?.facts['result']
      if (result !== 'delivered') fault(`${lost}, and its outcome is ${String(result)}`)
    } catch (error) {
      const held = await this.#kindsOf(exchange).catch(String)
      fault(`${lost}, and has no receipt: ${String(error)} The ledger holds of it: ${held}`)
    }
  }

  async #kindsOf(exchange: string): Promise<string> {
    const { entries } = await this.#parties.admin<Explained>('policy.explain', { exchange })
    return entries.map(({ kind }) => kind).join(' ')
  }

  #receiptOf(
    transport: AcknowledgedExchange['transport'],
    exchange: string,
    what: string,
  ): Promise<Receipt> {
    const { caller, identities } = this.#parties
    const asker: Agent | Identity =
      transport === 'gateway'
        ? caller
        : transport === 'mesh'
          ? identities.meshCaller
          : what.startsWith('sender')
            ? identities.sender
            : identities.receiver
    if ('receipt' in asker) return asker.receipt(exchange)
    return fetchReceipt(asker, exchange, receiptWaitMs)
  }

  /**
   * Checks that a delivered exchange was recorded first, and that an exchange with an unknown end
   * is recorded as that.
   */
  async #checkIntent(
    { transport, exchange, call }: HandedExchange,
    fault: (text: string) => void,
  ): Promise<void> {
    const handed = `${transport}: ${exchange} (${call}) was delivered`
    try {
      const kinds = await this.#kindsOf(exchange)
      if (!/^intent (?:outcome|indeterminate)$/.test(kinds)) {
        fault(`${handed}, and is recorded as: ${kinds}`)
      }
    } catch (error) {
      fault(`${handed}, and is not recorded: ${String(error)}`)
    }
  }

  async #checkDeadLetters(fault: (text: string) => void): Promise<number> {
    const letters = await this.#parties.admin<readonly { offset: number; reason: string }[]>(
      'channel.dead',
      { name: CHANNEL },
    )
    for (const letter of letters) this.#observer.deadLetter(letter)
    for (const name of this.#observer.skipped) {
      fault(`message ${name} was never given out, and a later one of its key was`)
    }
    return letters.length
  }

  #sample(): readonly AcknowledgedExchange[] {
    if (this.#earlier.length === 0) return []
    return Array.from({ length: samplesPerRound }, () => {
      return this.#earlier[this.#random.between(0, this.#earlier.length - 1)]
    }).filter((each) => each !== undefined)
  }
}

async function eachOf<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await act(item)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

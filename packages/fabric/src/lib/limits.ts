import { formatLimit, type Limit, type PrincipalKey, type RefusalCode } from '@countersign/protocol'
import { Refusal } from './refusal.ts'

export { Shares } from '@countersign/protocol'

/** A refusal that names the limit that was reached. */
export function overLimit(
  code: RefusalCode,
  limit: Limit,
  detail = '',
  retryAfterMs: number | null = null,
): Refusal {
  const text = formatLimit(limit)
  const full = detail === '' ? `over ${text}` : `${detail}; over ${text}`
  return new Refusal(code, full, retryAfterMs, { limit: text })
}

/**
 * Returns the key under which the requests of a caller to a receiver are counted. Every engine
 * takes it from here, so that all count the same pairs. Neither has a line break in it.
 */
export function counterKey(caller: PrincipalKey, receiver: string): string {
  return `${caller}\n${receiver}`
}

/**
 * The network that limits count an address under: an IPv4 address itself, an IPv6 address by its
 * first 64 bits, since one subscriber holds 2^64 addresses (RFC 4291, section 2.5.4).
 */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [before = '', after] = address.split('%', 1)[0]?.split('::') ?? []
  const groups = before === '' ? [] : before.split(':')
  if (after !== undefined) {
    const tail = after === '' ? [] : after.split(':')
    while (groups.length + tail.length < 8) groups.push('0')
    groups.push(...tail)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}

/**
 * Work that comes due for many clients at once, done for a few of them in each turn of the event
 * loop: requests of others are served in between, however many have waited.
 */
export class Turns {
  readonly #perTurn: number
  #due: (() => void)[] = []
  #isRunning = false

  constructor(perTurn: number) {
    this.#perTurn = perTurn
  }

  add(work: () => void): void {
    this.#due.push(work)
    if (this.#isRunning) return
    this.#isRunning = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    const now = this.#due.splice(0, this.#perTurn)
    if (this.#due.length > 0) setImmediate(() => this.#run())
    else this.#isRunning = false
    for (const work of now) work()
  }
}

/** One of each group in turn, so that a group of many comes before no other's first. */
export function inTurns<T>(groups: Iterable<Iterable<T>>): readonly T[] {
  const ordered: T[] = []
  let open = [...groups].map((group) => group[Symbol.iterator]())
  while (open.length > 0) {
    const next: Iterator<T>[] = []
    for (const group of open) {
      const { done, value } = group.next()
      if (done === true) continue
      ordered.push(value)
      next.push(group)
    }
    open = next
  }
  return ordered
}

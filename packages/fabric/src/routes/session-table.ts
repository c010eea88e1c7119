/** A UUID has 36, a signed token some hundreds; each is kept for as long as its session. */
export const sessionIdLengthMax = 1024

const countMaxDefault = 100_000

interface SessionTableOptions {
  readonly countMax?: number
  /** Called for every session that leaves the table, whether it ended or was the oldest. */
  readonly onForget?: (sessionId: string) => void
}

/**
 * Holds one value for each MCP session (up to 2025-11-25) of each receiver. Beyond its bound, the
 * oldest session is forgotten. A longer id than `sessionIdLengthMax` is never in the table.
 */
export class SessionTable<Value> {
  readonly #values = new Map<string, Value>()
  readonly #countMax: number
  readonly #onForget: (sessionId: string) => void

  constructor({
    countMax = countMaxDefault,
    onForget = () => undefined,
  }: SessionTableOptions = {}) {
    this.#countMax = countMax
    this.#onForget = onForget
  }

  find(receiver: string, sessionId: string): Value | null {
    if (sessionId.length > sessionIdLengthMax) return null
    return this.#values.get(keyOf(receiver, sessionId)) ?? null
  }

  /** A session that is in the table keeps its age. */
  set(receiver: string, sessionId: string, value: Value): void {
    if (sessionId.length > sessionIdLengthMax) return
    this.#values.set(keyOf(receiver, sessionId), value)
    if (this.#values.size <= this.#countMax) return
    const [oldest] = this.#values.keys()
    if (oldest !== undefined) this.#forget(oldest)
  }

  delete(receiver: string, sessionId: string): void {
    this.#forget(keyOf(receiver, sessionId))
  }

  #forget(key: string): void {
    if (this.#values.delete(key)) this.#onForget(key.slice(key.indexOf('\n') + 1))
  }
}

/** The name of a receiver has no line break, so that no two pairs have one key. */
function keyOf(receiver: string, sessionId: string): string {
  return `${receiver}\n${sessionId}`
}

export interface TimeCreditOptions {
  /** Milliseconds of credit that a client earns per millisecond. */
  readonly rate: number
  /** The most credit that a client holds, which is also what it begins with. */
  readonly creditMsMax: number
  /** The most that a client can owe: what it takes to pay that back is the longest memory. */
  readonly debtMsMax: number
  now(): number
}

interface Account {
  credit: number
  at: number
}

/** Accounts that are full again are forgotten once there are this many. */
const accountsKept = 1_024

/** Time that clients have used, as a token bucket for each: `has` is false for one that owes. */
export class TimeCredit {
  readonly #options: TimeCreditOptions
  readonly #accounts = new Map<string, Account>()

  constructor(options: TimeCreditOptions) {
    this.#options = options
  }

  has(client: string): boolean {
    const account = this.#accounts.get(client)
    return account === undefined || this.#settled(account, this.#options.now()).credit > 0
  }

  /** Reports whether the client has used more than half of its credit, as of its last charge. */
  isLow(client: string): boolean {
    const account = this.#accounts.get(client)
    return account !== undefined && account.credit < this.#options.creditMsMax / 2
  }

  charge(client: string, ms: number): void {
    if (ms <= 0) return
    const { creditMsMax, debtMsMax, now } = this.#options
    const at = now()
    const known = this.#accounts.get(client)
    const account = known === undefined ? { credit: creditMsMax, at } : this.#settled(known, at)
    account.credit = Math.max(account.credit - ms, -debtMsMax)
    if (known !== undefined) return
    if (this.#accounts.size >= accountsKept) this.#forget(at)
    this.#accounts.set(client, account)
  }

  #settled(account: Account, now: number): Account {
    const { rate, creditMsMax } = this.#options
    account.credit = Math.min(creditMsMax, account.credit + rate * (now - account.at))
    account.at = now
    return account
  }

  #forget(now: number): void {
    const { creditMsMax } = this.#options
    for (const [client, account] of this.#accounts) {
      if (this.#settled(account, now).credit >= creditMsMax) this.#accounts.delete(client)
    }
  }
}

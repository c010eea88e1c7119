import { formatLimit, type Limit } from '@countersign/protocol'

/**
 * Maximum cost of the warnings of one compilation, on the event loop: a step takes up to a
 * microsecond. Twenty thousand typical policies stay below it.
 */
export const lintStepsLimit: Limit = { name: 'policy.lintSteps', value: 10_000_000, unit: 'count' }
/** The share of those steps that one policy may use without a pause for other work. */
export const policyStepsLimit: Limit = {
  name: 'policy.lintStepsPerPolicy',
  value: 250_000,
  unit: 'count',
}
/** After this many, a compilation lets the process do other work before the next policy. */
const stepsPerTurn = 50_000

/**
 * Thrown where the search for warnings of one policy ends early. Its message is the last warning.
 */
export class LintStopped extends Error {}

/** Counts what warnings cost: the same test asked of many kinds of requests multiplies. */
export class LintWork {
  readonly #steps: number
  readonly #policySteps: number
  #spent = 0
  #spentBefore = 0
  #turnEnds = stepsPerTurn

  constructor(steps: number = lintStepsLimit.value, policySteps: number = policyStepsLimit.value) {
    this.#steps = steps
    this.#policySteps = policySteps
  }

  get spent(): number {
    return this.#spent
  }

  get isUsedUp(): boolean {
    return this.#spent >= this.#steps
  }

  beginPolicy(): void {
    this.#spentBefore = this.#spent
  }

  spend(steps: number): void {
    this.#spent += steps
    if (this.#spent - this.#spentBefore > this.#policySteps || this.isUsedUp) {
      const limit = this.isUsedUp ? lintStepsLimit : policyStepsLimit
      throw new LintStopped(
        `this policy is too complex to check for conditions that no request meets (${formatLimit(limit)})`,
      )
    }
  }

  /**
   * Reports whether other work of the process should have its turn; true once for each share of
   * steps.
   */
  isTurnOver(): boolean {
    if (this.#spent < this.#turnEnds) return false
    this.#turnEnds = this.#spent + stepsPerTurn
    return true
  }
}

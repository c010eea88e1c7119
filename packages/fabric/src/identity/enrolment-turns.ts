import { Serializer } from '../concurrency/serializer.ts'
import { Refusal } from '../lib/refusal.ts'

type Outcome = Refusal | null

/**
 * Enrolments take the turn of the directory one after the other, since each holds it while its
 * entry is written: a quarantine waits behind one of them at most, however many there are. Of one
 * join token, one is under way: when it cannot be recorded, those that waited for it are refused
 * and do not ask the ledger again.
 */
export class EnrolmentTurns {
  readonly #turns = new Serializer()
  readonly #underWay = new Map<string, Promise<unknown>>()

  /** Runs `admit` in its turn; it resolves to null once the token with `id` is used up. */
  async run(id: string, admit: () => Promise<Outcome>): Promise<Outcome> {
    const first = this.#underWay.get(id)
    if (first !== undefined) {
      const isUsed = await first.then(
        (outcome) => outcome === null,
        () => false,
      )
      if (!isUsed) return new Refusal('UNDECIDED', `another enrolment by ${id} was under way`)
    }
    const turn = this.#turns.run(admit)
    if (first !== undefined) return turn
    this.#underWay.set(id, turn)
    try {
      return await turn
    } finally {
      this.#underWay.delete(id)
    }
  }
}

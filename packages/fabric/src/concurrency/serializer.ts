/** Runs pieces of asynchronous work one at a time, in the order in which they were asked for. */
export class Serializer {
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Starts `work` when all earlier work has settled, and settles as it does. Work that fails does
   * not stop what follows. Work that waits for other work of the same serializer never ends.
   */
  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }
}

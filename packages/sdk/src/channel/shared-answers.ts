/** Those who ask for one name at the same time wait for one answer; the next to ask asks anew. */
export class SharedAnswers<Name, Answer> {
  /** One for each question under way. */
  readonly #asked = new Map<Name, Promise<Answer>>()

  ask(name: Name, question: () => Promise<Answer>): Promise<Answer> {
    const asked = this.#asked.get(name)
    if (asked !== undefined) return asked
    const answer = question().finally(() => this.#asked.delete(name))
    this.#asked.set(name, answer)
    return answer
  }
}

type Listener<Value> = (value: Value) => void

/** The listeners to one kind of change, called in the order in which they were added. */
export class ListenerSet<Value = void> {
  readonly #listeners = new Set<Listener<Value>>()

  /**
   * Returns the function that removes the listener. A listener is called once, however often added.
   */
  add(listener: Listener<Value>): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Calls every listener at once. An exception of one reaches the caller, and ends the round. */
  notify(value: Value): void {
    for (const listener of this.#listeners) listener(value)
  }

  clear(): void {
    this.#listeners.clear()
  }
}

/**
 * The entries of a map as they were at one moment, encoded one by one while the map goes on
 * changing. Holds the encoded form of those alone that changed before their turn.
 */
export class MapCopy<Value> {
  readonly #encode: (key: string, value: Value) => string
  readonly #left: Map<string, Value>
  readonly #kept = new Map<string, string>()

  constructor(map: ReadonlyMap<string, Value>, encode: (key: string, value: Value) => string) {
    this.#encode = encode
    this.#left = new Map(map)
  }

  /** To be called before the value of `key` changes in place. */
  keep(key: string): void {
    const value = this.#left.get(key)
    if (value === undefined || this.#kept.has(key)) return
    this.#kept.set(key, this.#encode(key, value))
  }

  /** In the order of the map; to be taken once. */
  *lines(): Generator<string, void, undefined> {
    for (const [key, value] of this.#left) {
      const line = this.#kept.get(key) ?? this.#encode(key, value)
      this.#left.delete(key)
      this.#kept.delete(key)
      yield line
    }
  }
}

import { indexContext, NO_CONTEXT } from '../detectors/context.ts'
import { bracketRule } from '../detectors/name-path.ts'
import { mayNameSecret } from '../detectors/secret-name-matcher.ts'
import { type SecretRule, secretRule } from '../detectors/secret-names.ts'
import type { ContextIndex } from '../text/view.ts'
import { type JsonString, nameOf, viewOf } from './json-string.ts'

/** Longer names are remembered for the whole body, which can hold only so many of them. */
const longNameBytes = 256

/** The properties of a name that apply to the values below it, computed on demand. */
interface Told {
  context: ContextIndex | null
  /** Undefined until the first query. */
  rule: SecretRule | null | undefined
}

/**
 * Caches the properties of the name above a value. A name can be megabytes long and have a million
 * values below it, with other names in between: each long one is read once.
 */
export class EnclosingKey {
  readonly #bytes: Uint8Array
  #long: Map<number, Told> | null = null
  #lastFrom = -1
  #last: Told = { context: null, rule: undefined }

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  context(key: JsonString | null): ContextIndex {
    if (key === null) return NO_CONTEXT
    const told = this.#toldBy(key)
    told.context ??= indexContext(viewOf(this.#bytes, key))
    return told.context
  }

  rule(key: JsonString): SecretRule | null {
    const told = this.#toldBy(key)
    if (told.rule === undefined) told.rule = this.#findRule(key)
    return told.rule
  }

  #toldBy({ from, to }: JsonString): Told {
    if (this.#lastFrom === from) return this.#last
    this.#lastFrom = from
    this.#last = this.#long?.get(from) ?? { context: null, rule: undefined }
    if (to - from > longNameBytes) {
      this.#long ??= new Map()
      this.#long.set(from, this.#last)
    }
    return this.#last
  }

  #findRule(key: JsonString): SecretRule | null {
    if (!key.escaped && !mayNameSecret(this.#bytes, key.from, key.to)) return null
    const name = nameOf(this.#bytes, key)
    return secretRule(name) ?? bracketRule(name)
  }
}

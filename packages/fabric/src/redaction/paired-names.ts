import { latin1 } from './ascii.ts'
import {
  type FieldRule,
  findFieldRule,
  isFieldValue,
  mayNameSecret,
  withoutMarkers,
} from './field-names.ts'
import { TooManyFindings } from './inspection.ts'
import { type JsonString, nameOf } from './json-string.ts'
import { type JsonContainer, type JsonLeaf, JsonWalk } from './json-walk.ts'

/** Members that hold the name of something, and members that hold what has it. */
const NAMING: ReadonlySet<string> = new Set(
  'name key field header label id title param parameter property variable var env k n'.split(' '),
)
const HOLDING: ReadonlySet<string> = new Set(
  'value values val v content contents data text default secret'.split(' '),
)
const memberBytesMax = 9
/** A name of a secret is a name, not a sentence. */
const nameBytesMax = 64

/**
 * A container with the name of a secret is read once more. Containers in one another would each be,
 * so all of that together is bounded by the body.
 */
const rereadFactor = 8

/** A secret whose name stands beside it instead of above it. */
export interface PairedSecret {
  readonly rule: FieldRule
  readonly leaf: Pick<JsonLeaf, 'from' | 'to' | 'escaped' | 'kind'>
}

/**
 * Finds `{"name": "password", "value": "…"}`, in any order and at any depth of the value, and
 * `["password", "…"]`: settings, headers and forms are often lists of such pairs.
 */
export class PairedNames {
  readonly #bytes: Uint8Array
  readonly #found: (secret: PairedSecret) => void
  readonly #reread: (bytes: number) => void
  /** Containers that hold the name of a secret, by where they begin. */
  readonly #named = new Map<number, FieldRule>()
  #readLeft: number

  /** `reread` is told how many bytes are read once more, before they are. */
  constructor(
    bytes: Uint8Array,
    found: (secret: PairedSecret) => void,
    reread: (bytes: number) => void,
  ) {
    this.#reread = reread
    this.#bytes = bytes
    this.#found = found
    this.#readLeft = rereadFactor * bytes.length
  }

  /** To be called for each string, with the container that it stands in. */
  look(leaf: JsonLeaf, walk: JsonWalk): void {
    if (leaf.kind !== 'string' || leaf.to - leaf.from > nameBytesMax) return
    if (!leaf.escaped && !mayNameSecret(this.#bytes, leaf.from, leaf.to)) return
    const { container } = walk
    if (container === null) return
    const isName = container.isObject
      ? container.key !== null && NAMING.has(this.#memberOf(container.key))
      : container.index === 0
    if (!isName) return
    const name = nameOf(this.#bytes, leaf)
    // What held something sensitive is not a name, and must not look like one once that is masked.
    if (withoutMarkers(name) !== name) return
    const rule = findFieldRule(name)
    if (rule !== null) this.#named.set(container.start, rule)
  }

  /** Whether the end of a container matters. */
  get isWaiting(): boolean {
    return this.#named.size > 0
  }

  /** To be called at the end of each container while `isWaiting`. */
  close({ isObject, start, index }: JsonContainer, end: number): void {
    const rule = this.#named.get(start)
    if (rule === undefined) return
    this.#named.delete(start)
    // A longer list that begins with such a name is a list of names.
    if (!isObject && index !== 1) return
    this.#reread(end - start)
    this.#readLeft -= end - start
    if (this.#readLeft < 0) throw new TooManyFindings()
    const text = this.#bytes.subarray(start, end)
    const inner: JsonWalk = new JsonWalk(text, {
      depthMax: Number.POSITIVE_INFINITY,
      visit: (leaf) => {
        const [outermost] = inner.steps
        if (leaf.kind === 'key' || outermost === undefined) return
        const isValue = isObject
          ? outermost.key !== null && HOLDING.has(memberOf(text, outermost.key))
          : outermost.index === 1
        if (!isValue || !isFieldValue(rule, nameOf(text, leaf))) return
        const { from, to, escaped, kind } = leaf
        this.#found({ rule, leaf: { from: from + start, to: to + start, escaped, kind } })
      },
    })
    inner.walk()
  }

  #memberOf(key: JsonString): string {
    return memberOf(this.#bytes, key)
  }
}

function memberOf(bytes: Uint8Array, key: JsonString): string {
  if (key.escaped) return nameOf(bytes, key).toLowerCase()
  return key.to - key.from > memberBytesMax ? '' : latin1(bytes, key.from, key.to).toLowerCase()
}

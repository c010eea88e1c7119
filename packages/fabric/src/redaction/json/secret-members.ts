import { heldLengthMin, isHeldBelow } from '../detectors/held-values.ts'
import { isMarkerText } from '../detectors/marker.ts'
import {
  CARRYING,
  foldMember,
  isCounting,
  isDescribing,
  LISTING,
} from '../detectors/member-roles.ts'
import { type PairRole, pairRole } from '../detectors/pair-roles.ts'
import { mayNamePlainly, mayNameSecret } from '../detectors/secret-name-matcher.ts'
import {
  plainMembers,
  type SecretRule,
  secretNameLengthMax,
  secretRule,
  stronger,
} from '../detectors/secret-names.ts'
import { isSecretValue, looksMade } from '../detectors/secret-values.ts'
import { type InspectionWork, STEPS, TooManyFindings } from '../inspection-work.ts'
import {
  type Expected,
  holds,
  maySwitch,
  programBytesMax,
  switchAt,
  switchRule,
} from './argument-list.ts'
import { EnclosingKey } from './enclosing-key.ts'
import { type JsonString, nameOf } from './json-string.ts'
import { type JsonContainer, type JsonLeaf, JsonWalk } from './json-walk.ts'

/**
 * A member that describes the other one has a short name: 256 bytes, each behind a backslash of
 * JSON.
 */
const memberBytesMax = 512
/** The name of a secret in a value is a name, not a text; it is longer by escapes alone. */
const nameBytesMax = 128
const escapedNameBytesMax = 512
const nameBytesMin = 2

/**
 * A container with the name of a secret is read once more. Containers in one another would each be,
 * so all of that together is bounded by the body.
 */
const rereadFactor = 8

/** A string or number that is a secret by its name. */
export interface NamedLeaf {
  readonly rule: SecretRule
  readonly leaf: Pick<JsonLeaf, 'from' | 'to' | 'escaped' | 'kind'>
}

/**
 * The rules that names impose on the values next to them, by the part that each pair has in common.
 */
type NamedFrames = Map<string, Set<SecretRule>>

interface Frame {
  /** The strongest of the names above that are those of a secret. */
  inherited: SecretRule | null
  /** Of the element before, in a list that may be an argument list or a pair. */
  before: SecretRule | null
  isFlag: boolean
  /** The kind of value that a short switch before announces for the element. */
  expected: Expected | null
  beforeIndex: number
  /** The element behind a name in a list, which counts if the list ends there. */
  candidate: NamedLeaf | null
  /** True if it is a list in a list. */
  isRow: boolean
  /** True if its name is a path. */
  isRoute: boolean
  /** Of the members that hold a name; null while there is none. */
  named: NamedFrames | null
}

interface Preceding {
  readonly before: SecretRule | null
  readonly isFlag: boolean
  readonly expected: Expected | null
  /** Index of the element before. */
  readonly at: number
}

const NOTHING_BEFORE: Preceding = { before: null, isFlag: false, expected: null, at: -1 }

/**
 * Finds the secrets of one JSON text by their names: under a name at any depth, next to one in an
 * object, and after one in a list. Every layer of JSON is read by this class alone.
 *
 * Sleeps until a name of a secret comes: without one no frame would hold anything.
 */
export class SecretMembers {
  readonly names: EnclosingKey
  readonly #bytes: Uint8Array
  readonly #found: (secret: NamedLeaf) => void
  readonly #work: Pick<InspectionWork, 'spend'>
  /** Frames from `#depth` on are spare. */
  readonly #frames: Frame[] = []
  #depth = 0
  #isAwake = false
  /** The name that was looked at last while asleep. */
  #passedKey = -1
  #readLeft: number
  /** The context that the preceding elements of a list give an element. */
  #preceding: Preceding = NOTHING_BEFORE

  constructor(
    bytes: Uint8Array,
    found: (secret: NamedLeaf) => void,
    work: Pick<InspectionWork, 'spend'>,
  ) {
    this.#bytes = bytes
    this.#work = work
    this.names = new EnclosingKey(bytes)
    this.#found = found
    this.#readLeft = rereadFactor * bytes.length
  }

  /** To be called before each container. */
  enter(walk: JsonWalk): void {
    if (!this.#isAwake && !this.#wakesFor(walk)) return
    const parent = this.#frames[this.#depth - 1]
    const { nearestKey: key, container } = walk
    let inherited = parent?.inherited ?? null
    const isRow = container !== null && !container.isObject
    if (isRow) {
      const follows = parent !== undefined && parent.beforeIndex === container.index - 1
      if (follows && parent.before !== null) inherited = stronger(inherited, parent.before)
    } else if (key !== null) {
      const rule = this.names.rule(key)
      const isOperation = parent?.isRoute === true && METHODS.has(memberOf(this.#bytes, key))
      if (isOperation) inherited = null
      else if (rule !== null && !isModule(this.#bytes, key)) inherited = stronger(inherited, rule)
      else if (inherited !== null && isDescribing(memberNameOf(this.#bytes, key))) inherited = null
    }
    const isRoute = !isRow && key !== null && this.#bytes[key.from] === 0x2f
    const frame = this.#frames[this.#depth++]
    if (frame === undefined) {
      this.#frames.push({ ...emptyFrame, inherited, isRow, isRoute })
      return
    }
    frame.isRoute = isRoute
    frame.inherited = inherited
    frame.before = frame.candidate = frame.expected = null
    frame.named = null
    frame.beforeIndex = -1
    frame.isRow = isRow
  }

  /** True once anything has named a secret. */
  get isAwake(): boolean {
    return this.#isAwake
  }

  /** To be called for each string and number. */
  look(leaf: JsonLeaf, walk: JsonWalk): void {
    if (!this.#isAwake && !this.#wakesFor(walk) && !this.#wakesAt(leaf, walk)) return
    const { container } = walk
    const frame = this.#frames[this.#depth - 1]
    if (frame === undefined || container === null) return
    const key = container.isObject ? container.key : walk.nearestKey
    if (key !== null) this.#lookUnder(key, leaf, frame.inherited)
    if (container.isObject) this.#lookBeside(leaf, container, frame)
    else this.#lookAfter(leaf, walk, frame)
  }

  /**
   * To be called behind `look` for a leaf of which something is masked, with what is left of it.
   */
  lookAgain(leaf: JsonLeaf, walk: JsonWalk, textOfMasked: () => string): void {
    const { container } = walk
    const frame = this.#frames[this.#depth - 1]
    if (!this.#isAwake || frame === undefined || container === null) return
    const key = container.isObject ? container.key : walk.nearestKey
    const masked = textOfMasked()
    if (key !== null) this.#lookUnder(key, leaf, frame.inherited, masked)
    if (!container.isObject) this.#judgeElement(leaf, frame, masked)
  }

  /** To be called at the end of each container. */
  close(container: JsonContainer, end: number): void {
    if (!this.#isAwake) return
    const frame = this.#frames[--this.#depth]
    if (frame === undefined) return
    if (container.isObject) {
      if (frame.named !== null) this.#readPair(frame.named, container.start, end)
      return
    }
    const { candidate } = frame
    if (candidate === null || container.index !== 1) return
    // `["password", "sunshine"]` in a list of pairs; alone it is as likely a list of names.
    if (frame.isRow || /\s/.test(nameOf(this.#bytes, candidate.leaf))) this.#found(candidate)
  }

  /** For the name above what comes next. */
  #wakesFor(walk: JsonWalk): boolean {
    const key = walk.nearestKey
    if (key === null || key.from === this.#passedKey) return false
    this.#passedKey = key.from
    if (!key.escaped && !mayName(this.#bytes, key)) return false
    // Of a longer name the rule is remembered, and its bytes are not read again.
    const isShort = key.to - key.from <= secretNameLengthMax
    if (isShort && /[%&\\]/.test(nameOf(this.#bytes, key))) this.#work.spend(STEPS.escapedName)
    return this.names.rule(key) !== null && this.#wake(walk)
  }

  #wakesAt(leaf: JsonLeaf, walk: JsonWalk): boolean {
    if (leaf.kind !== 'string') return false
    const isSwitch = walk.container?.isObject === false && maySwitch(this.#bytes, leaf)
    if (isSwitch || this.#nameIn(leaf) !== null) return this.#wake(walk)
    const key = walk.container?.isObject === true ? walk.container.key : null
    if (key === null || leaf.from === leaf.to) return false
    // Escapes are only undone below a name that may name: a text can have any number of them.
    if (!leaf.escaped && !mayName(this.#bytes, leaf)) return false
    if (roleOf(this.#bytes, key)?.kind !== 'naming' || this.#ruleOf(leaf) === null) return false
    return this.#wake(walk)
  }

  /** Makes the frames of the containers that the walk stands in, as they would be by now. */
  #wake(walk: JsonWalk): boolean {
    this.#isAwake = true
    let isRow = false
    for (const { isObject } of walk.steps) {
      this.#frames.push({ ...emptyFrame, isRow })
      isRow = !isObject
    }
    this.#depth = this.#frames.length
    return true
  }

  /** By its own name, and by the strongest one above: a weaker name takes nothing away from it. */
  #lookUnder(
    key: JsonString,
    leaf: JsonLeaf,
    inherited: SecretRule | null,
    masked: string | null = null,
  ): void {
    if (leaf.from === leaf.to) return
    const own = this.names.rule(key)
    if (own !== null && this.#judge(own, leaf, masked)) return
    if (inherited === null || inherited === own) return
    const member = memberNameOf(this.#bytes, key)
    const isStrong = inherited.kind === 'password' || inherited.kind === 'key'
    const describes = leaf.kind === 'number' ? isCounting(member) : isDescribing(member)
    const isHeld = isStrong ? !describes : CARRYING.has(foldMember(member))
    if (isHeld || (!describes && this.#isHeldBelow(inherited, leaf, masked)))
      this.#judge(inherited, leaf, masked)
  }

  #isHeldBelow(rule: SecretRule, leaf: JsonLeaf, masked: string | null): boolean {
    if (leaf.kind === 'number' || leaf.to - leaf.from < heldLengthMin) return false
    this.#work.spend(STEPS.byte * (leaf.to - leaf.from))
    return isHeldBelow(rule, masked ?? nameOf(this.#bytes, leaf))
  }

  #judge(rule: SecretRule, leaf: JsonLeaf, masked: string | null): boolean {
    this.#work.spend(STEPS.namedValue + STEPS.byte * (leaf.to - leaf.from))
    const form = leaf.kind === 'number' ? 'number' : 'text'
    if (!isSecretValue(rule, masked ?? nameOf(this.#bytes, leaf), form)) return false
    this.#found({ rule, leaf })
    return true
  }

  #lookBeside(leaf: JsonLeaf, container: JsonContainer, frame: Frame): void {
    if (container.key === null || leaf.kind !== 'string') return
    if (!leaf.escaped && !mayName(this.#bytes, leaf)) return
    const role = roleOf(this.#bytes, container.key)
    const rule = role?.kind === 'naming' ? this.#ruleOf(leaf) : null
    if (role === null || rule === null) return
    frame.named ??= new Map()
    const rules = frame.named.get(role.frame)
    if (rules === undefined) frame.named.set(role.frame, new Set([rule]))
    else rules.add(rule)
  }

  #lookAfter(leaf: JsonLeaf, walk: JsonWalk, frame: Frame): void {
    const index = walk.container?.index ?? 0
    const { before, expected, isFlag, beforeIndex } = frame
    this.#preceding = NOTHING_BEFORE
    if (beforeIndex === index - 1 && (before !== null || expected !== null)) {
      const key = walk.nearestKey
      const isListing = key !== null && LISTING.has(memberOf(this.#bytes, key))
      this.#preceding = { before: isListing ? null : before, expected, isFlag, at: beforeIndex }
      this.#judgeElement(leaf, frame, null)
    }
    frame.before = this.#nameIn(leaf)
    frame.beforeIndex = index
    const isDash = this.#bytes[leaf.from] === 0x2d
    frame.isFlag = isDash && frame.before !== null
    frame.expected = leaf.kind === 'string' ? this.#switchIn(leaf) : null
  }

  #judgeElement(leaf: JsonLeaf, frame: Frame, masked: string | null): void {
    const { before, expected } = this.#preceding
    if (before === null && expected === null) return
    const value = masked ?? nameOf(this.#bytes, leaf)
    if (before !== null) this.#judgeAfter(before, leaf, frame, value)
    if (expected !== null && holds(expected, value)) this.#report(switchRule, leaf)
  }

  #judgeAfter(rule: SecretRule, leaf: JsonLeaf, frame: Frame, value: string): void {
    const form = leaf.kind === 'number' ? 'number' : 'text'
    if (!isSecretValue(rule, value, form)) return
    const isWeak = rule.kind === 'pass' && !/\d/.test(value)
    const { isFlag, at } = this.#preceding
    const isClear = isFlag ? !value.startsWith('-') : looksMade(value) && !isWeak
    const { from, to, escaped, kind } = leaf
    const secret = { rule, leaf: { from, to, escaped, kind } }
    if (isClear) this.#found(secret)
    else if (at === 0) frame.candidate = secret
  }

  /**
   * Returns the kind of value that a switch of a command line in a list announces for the next
   * element.
   */
  #switchIn(leaf: JsonLeaf): Expected | null {
    if (!maySwitch(this.#bytes, leaf)) return null
    this.#work.spend(STEPS.byte * programBytesMax)
    const { expected, isSecret } = switchAt(this.#bytes, leaf.from, nameOf(this.#bytes, leaf))
    if (isSecret) this.#report(switchRule, leaf)
    return expected
  }

  /** A copy: the walk uses its leaf again. */
  #report(rule: SecretRule, { from, to, escaped, kind }: JsonLeaf): void {
    this.#found({ rule, leaf: { from, to, escaped, kind } })
  }

  /** The rule for an element of a list; a sentence is not a name there. */
  #nameIn(leaf: JsonLeaf): SecretRule | null {
    const length = leaf.to - leaf.from
    const longest = leaf.quiet ? nameBytesMax : escapedNameBytesMax
    if (leaf.kind !== 'string' || length > longest || length < nameBytesMin) return null
    if (!leaf.escaped && !mayName(this.#bytes, leaf)) return null
    const name = nameOf(this.#bytes, leaf)
    // Links and sentences hold escapes more often than names do, and are recognized without undoing
    // them.
    if (/[%&\\\uff05\uff06\uff3c]/.test(name)) {
      if (/:\/\/|\s.*\s/.test(name)) return null
      this.#work.spend(STEPS.escapedName)
      if (!plainMembers(name).some(isName)) return null
    } else if (!isName(name)) return null
    return this.#ruleOf(leaf)
  }

  /** The rule for what holds a name: the same as for the name of a member. */
  #ruleOf(leaf: JsonLeaf): SecretRule | null {
    if (!leaf.escaped && !mayName(this.#bytes, leaf)) return null
    const name = nameOf(this.#bytes, leaf)
    if (/[%&\\]/.test(name)) this.#work.spend(STEPS.escapedName)
    return isMarkerText(name) ? null : secretRule(name)
  }

  #readPair(named: NamedFrames, start: number, end: number): void {
    this.#work.spend(STEPS.rereadByte * (end - start))
    this.#readLeft -= end - start
    if (this.#readLeft < 0) throw new TooManyFindings()
    const text = this.#bytes.subarray(start, end)
    const inner: JsonWalk = new JsonWalk(text, {
      depthMax: Number.POSITIVE_INFINITY,
      visit: (leaf) => {
        const outermost = inner.outermostKey
        if (leaf.kind === 'key' || outermost === null) return
        const role = roleOf(text, outermost)
        if (role === null || role.kind === 'naming') return
        const own = inner.nearestKey
        if (own !== null && own.from !== outermost.from && isDescribing(memberNameOf(text, own)))
          return
        const value = nameOf(text, leaf)
        if (role.kind === 'telling' && !looksMade(value)) return
        const form = leaf.kind === 'number' ? 'number' : 'text'
        const rules = Array.from(named.get(role.frame) ?? [])
        const rule = rules.find((each) => isSecretValue(each, value, form))
        if (rule === undefined) return
        const { from, to, escaped, kind } = leaf
        this.#found({ rule, leaf: { from: from + start, to: to + start, escaped, kind } })
      },
    })
    inner.walk()
  }
}

/** `node_modules/csrf-token`, in a lock file: it describes a package. */
const isModule = (bytes: Uint8Array, key: JsonString): boolean =>
  nameOf(bytes, key).startsWith('node_modules/')
/** Below a route such as `/users/{id}/password`, these describe an operation (OpenAPI). */
const METHODS: ReadonlySet<string> = new Set('get put post delete options head patch'.split(' '))

const emptyFrame: Frame = {
  inherited: null,
  before: null,
  isFlag: false,
  expected: null,
  beforeIndex: -1,
  candidate: null,
  isRow: false,
  isRoute: false,
  named: null,
}

/**
 * A leaf that is quiet holds nothing that could hide a name: most are, and their bytes were read
 * before.
 */
const mayName = (bytes: Uint8Array, { from, to, quiet }: JsonString): boolean =>
  quiet === true ? mayNamePlainly(bytes, from, to) : mayNameSecret(bytes, from, to)

/** Words and what joins them: not a key, an address or a sentence that ends in one. */
const isName = (text: string): boolean =>
  /^[\p{L}\p{N}\p{M}\p{Cf}_.:[\]%&#;\\ -]+$/u.test(text) && !text.includes('---')

/**
 * The name of a member without separators, in lower case; empty for one that is too long to matter.
 */
const memberOf = (bytes: Uint8Array, key: JsonString): string =>
  foldMember(memberNameOf(bytes, key))

/** The same as it is written, behind its escapes. */
function memberNameOf(bytes: Uint8Array, key: JsonString): string {
  if (key.to - key.from > memberBytesMax) return ''
  const name = nameOf(bytes, key)
  // Asked of many members of every object: nearly all are plain letters.
  if (/^\w*$/.test(name)) return name
  const plain = plainMembers(name)
  return plain.find((each) => pairRole(each) !== null) ?? plain[0] ?? ''
}

/**
 * Returns the role of a member toward the one next to it, read as it is written or behind its
 * escapes.
 */
function roleOf(bytes: Uint8Array, key: JsonString): PairRole | null {
  if (key.to - key.from > memberBytesMax) return null
  let found: PairRole | null = null
  for (const text of plainMembers(nameOf(bytes, key))) {
    const role = pairRole(text)
    if (role !== null && (found === null || role.frame.length < found.frame.length)) found = role
  }
  return found
}

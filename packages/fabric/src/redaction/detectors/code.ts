import { isDescription, isReferenceName, looksMade } from './secret-values.ts'

/** Longer values are not expressions; deeper ones are not analyzed. */
const codeLengthMax = 256
const depthMax = 8

const NAME = /[A-Za-z_$][A-Za-z0-9_$]*/y
const JOINT = /\?\.|\.|::|->/y
const NUMBER = /-?\d{1,4}(?![\w.])/y
const NOTHING =
  /(?:""|''|``|\{\}|\[\]|(?:null|nil|undefined|void 0|[Nn]one|[Tt]rue|[Ff]alse)(?![\w.]))/y
const LITERAL = /"([^"\\]{0,64})"|'([^'\\]{0,64})'/y
const PREFIX = /(?:(?:await|new|yield|return|typeof|not)\s+|!)/y
const OPERATOR = /\s+(?:\|\||&&|\?\?|or|and|[<>]=?|[!=]==?|\+)\s+/y
const QUESTION = /\s+\?\s+/y
const OTHERWISE = /\s+:\s+/y
const BLANK = /\s*/y
/** Members that describe a secret and do not hold any of it. */
const MEASURES: ReadonlySet<string> = new Set(['length', 'size', 'value'])

/**
 * Reports whether `text` is wholly an expression of names: paths whose names refer to a secret,
 * calls and indexes with names, and operators between them. A literal in it that may be the secret,
 * or any remaining text, makes it a value.
 */
export function isExpression(text: string): boolean {
  if (text.length > codeLengthMax) return false
  const reader = new Reader(text)
  return reader.operands(0) && reader.isAtEnd
}

class Reader {
  readonly #text: string
  #at = 0
  #mayStayOpen = false

  constructor(text: string) {
    this.#text = text
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length
  }

  operands(depth: number, isArgument = false): boolean {
    let isCode = this.#operand(depth, isArgument)
    while (isCode && this.#take(OPERATOR) !== null) isCode = this.#operandOrNothing(depth)
    if (!isCode || this.#take(QUESTION) === null) return isCode
    // A choice gives one of two operands, or nothing.
    if (!this.#choice(depth) || this.#take(OTHERWISE) === null) return false
    return this.#choice(depth)
  }

  #choice(depth: number): boolean {
    return depth < depthMax && (this.#harmless() || this.operands(depth + 1))
  }

  #operandOrNothing(depth: number): boolean {
    return this.#take(NUMBER) !== null || this.#harmless() || this.#operand(depth, false)
  }

  /** Nothing, or a literal that names or describes. */
  #harmless(): boolean {
    if (this.#take(NOTHING) !== null) return true
    const start = this.#at
    const literal = this.#take(LITERAL)?.slice(1, -1)
    if (literal !== undefined && isDescription(literal)) return true
    this.#at = start
    return false
  }

  /**
   * An argument may have any name; an operand on its own must have a name that refers to a secret.
   */
  #operand(depth: number, isArgument: boolean): boolean {
    if (depth > depthMax) return false
    const prefix = this.#take(PREFIX)
    const bracket = this.#text.charAt(this.#at)
    if (bracket === '(') return this.#grouped(depth + 1)
    if (isArgument && bracket === '[') return this.#bracket(depth, ']')
    const parts: string[] = []
    do {
      const name = this.#take(NAME)
      // A name with letters behind a digit is as likely the secret itself.
      if (name === null || /\d[A-Za-z]/.test(name)) return false
      parts.push(name)
    } while (this.#take(JOINT) !== null)
    // `new Key(`, `settings.read({`: the arguments stand on the next lines.
    this.#mayStayOpen ||= parts.length > 1 || prefix !== null
    const rest = this.#calls(depth)
    if (rest === null) return false
    return isArgument || rest || refers(parts)
  }

  #grouped(depth: number): boolean {
    this.#at++
    if (!this.operands(depth) || this.#text.charAt(this.#at) !== ')') return false
    this.#at++
    return true
  }

  #bracket(depth: number, closing: string): boolean {
    this.#at++
    return this.#arguments(depth + 1, closing)
  }

  /** Calls, indexes and members behind a path: whether there are any; null where they are none. */
  #calls(depth: number): boolean | null {
    let isCalled = false
    for (;;) {
      const sign = this.#text[this.#at]
      if (sign === '(' || sign === '[') {
        this.#at++
        if (!this.#arguments(depth + 1, sign === '(' ? ')' : ']')) return null
        isCalled = true
      } else if (sign === '!' && this.#at === this.#text.length - 1) this.#at++
      else if (isCalled && this.#take(JOINT) !== null) {
        const name = this.#take(NAME)
        if (name === null || /\d[A-Za-z]/.test(name)) return null
      } else return isCalled
    }
  }

  /** A literal comes first, if at all: behind it stands what is taken in its place. */
  #arguments(depth: number, closing: string): boolean {
    this.#take(BLANK)
    for (let isFirst = true; this.#text[this.#at] !== closing; isFirst = false) {
      if (this.#mayStayOpen && /^\{?$/.test(this.#text.slice(this.#at))) {
        this.#at = this.#text.length
        return true
      }
      if (!isFirst && this.#text[this.#at++] !== ',') return false
      this.#take(BLANK)
      const literal = this.#take(LITERAL)
      if (literal === null) {
        if (!this.#argument(depth)) return false
      } else if (!isFirst || !isHarmless(literal.slice(1, -1))) return false
      this.#take(BLANK)
    }
    this.#at++
    return true
  }

  #argument(depth: number): boolean {
    if (this.#take(NUMBER) !== null || this.#take(NOTHING) !== null) return true
    return depth < depthMax && this.operands(depth, true)
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found === null) return null
    this.#at = pattern.lastIndex
    return found[0]
  }
}

function refers(parts: readonly string[]): boolean {
  if (isReferenceName(parts.join('.'))) return parts.length > 1 || isJoined(parts[0] ?? '')
  return parts.length > 1 && MEASURES.has(parts.at(-1) ?? '') && isReferenceName(parts[0] ?? '')
}

/**
 * One word alone is as likely a password: `secret`, `token` and the like are recognized elsewhere.
 */
const isJoined = (name: string): boolean => /[a-z][A-Z]|_|^[a-z]+$/.test(name)

/** Name of a file that a secret is read from. */
const file = /^[\w./-]{1,64}\.(?:pem|key|crt|json|ya?ml|txt|env|cfg|ini)$/

/**
 * Reports whether the literal is a key by which code looks up a variable or a header: `"API_KEY"`,
 * `"authorization"`, `"hex"`.
 */
function isHarmless(literal: string): boolean {
  if (literal.length <= 3 || file.test(literal)) return true
  return isReferenceName(literal) && !looksMade(literal)
}

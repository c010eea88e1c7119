/** A longer text is not a type. */
const typeLengthMax = 256
const depthMax = 6

const IDENTIFIER = /(?:[A-Za-z_$][\w$]*(?:\.|::))*[A-Za-z_$][\w$]*/y
const PREFIX = /(?:(?:readonly|unique|keyof|typeof|const|mut|out|in|final)\s+|&'\w{1,32}\s+|[&*])+/y
const JOINT = /\s*[|&]\s*/y
const LIST = /\[\d{0,6}\]|\?|\*|!/y
const NOTHING =
  /\s*=\s*(?:None|null|nil|undefined|void 0|true|false|True|False|\.{3}|\d{1,4}|""|''|\{\}|\[\])(?![\w"'])/y
const PARAMETER = /\s*[,;]\s*(?:\.{3}|\*{1,2}|&)?[A-Za-z_$][\w$]*\??\s*:\s*/y
/** Behind all of a type: what its declaration ends with. A bar goes on behind what was cut off. */
const ENDS = /^[\s;,:)\]}>|={(]*$/

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '))
/** Names that mark the text that stands with them as a type; in lower case. */
const PRIMITIVES = words(
  'string str text varchar char secretstr securestring securestr bytes bytearray buffer keyobject cryptokey uint8array arraybuffer arraybufferview unknown any bool boolean int integer number float double void null none undefined never object bigint symbol nonetype bytebuffer url readablestream blob int32 int64 u8 usize',
)
/** Takes types in brackets. */
const GENERICS = words(
  'promise array readonlyarray record map set readonly partial required optional union list annotated maybe option nullable dict tuple sequence iterable iterator vec box arc rc result secret awaitable coroutine literal callable type classvar final future task observable pick omit extract exclude mapping hashmap',
)

/**
 * Reads the type that `text` begins with, as languages write them behind a name: `string | null`,
 * `Promise<void>`, `Optional[str]`. Returns the offset behind it; 0 if there is none. A name with
 * nothing to mark it as a type is as likely the secret.
 */
export function typeEnd(text: string): number {
  const reader = new TypeReader(text.slice(0, typeLengthMax))
  return reader.type(0) && reader.isSure ? reader.at : 0
}

/**
 * Reports whether `text` is the type of a declaration and nothing else, up to its other parameters.
 */
export function isTypeAnnotation(text: string): boolean {
  if (text.length > typeLengthMax) return false
  const reader = new TypeReader(text)
  if (!reader.type(0) || !reader.isSure) return false
  while (reader.parameter());
  return ENDS.test(text.slice(reader.at))
}

class TypeReader {
  readonly #text: string
  at = 0
  isSure = false

  constructor(text: string) {
    this.#text = text
  }

  type(depth: number): boolean {
    if (depth > depthMax) return false
    do {
      if (!this.#member(depth)) return false
    } while (this.#joint())
    return true
  }

  /** The default of the parameter before, or the next one. */
  parameter(): boolean {
    const start = this.at
    if (this.#take(NOTHING) !== '') return true
    const next = this.#take(PARAMETER)
    if (next !== '' && this.type(1)) return true
    this.at = start
    return false
  }

  #joint(): boolean {
    const start = this.at
    if (this.#take(JOINT) === '') return false
    if (/[A-Za-z_$&*([]/.test(this.#text.charAt(this.at))) return true
    this.at = start
    return false
  }

  #member(depth: number): boolean {
    this.#take(PREFIX)
    const name = this.#take(IDENTIFIER)
    if (name === '') return false
    const plain = name.slice(Math.max(name.lastIndexOf('.'), name.lastIndexOf(':')) + 1)
    const isPrimitive = PRIMITIVES.has(plain.toLowerCase())
    // A name with letters behind a digit is as likely the secret itself.
    if (!isPrimitive && /\d[A-Za-z]/.test(plain)) return false
    // The rest of the brackets behind the type is code.
    if (plain === 'Annotated' && this.#text.charAt(this.at) === '[') return this.#brackets()
    const isGeneric = this.#generic(depth, GENERICS.has(plain.toLowerCase()) || plain !== name)
    if (isGeneric === null) return false
    if (isPrimitive) this.isSure = true
    while (this.#take(LIST) !== '');
    return true
  }

  /** To the end of the bracket that begins here. */
  #brackets(): boolean {
    let depth = 0
    for (let i = this.at; i < this.#text.length; i++) {
      const sign = this.#text.charAt(i)
      if (sign === '[') depth++
      else if (sign === ']' && --depth === 0) {
        this.at = i + 1
        this.isSure = true
        return true
      }
    }
    return false
  }

  /** Types in brackets; null where there are other things in them. */
  #generic(depth: number, isKnown: boolean): boolean | null {
    const opening = this.#text.charAt(this.at)
    if (opening !== '<' && (opening !== '[' || !isKnown)) return false
    if (/^\[\d{0,6}\]/.test(this.#text.slice(this.at, this.at + 8))) return false
    this.at++
    const closing = opening === '<' ? '>' : ']'
    do {
      while (this.#text.charAt(this.at) === ' ') this.at++
      if (!this.type(depth + 1)) return null
    } while (this.#text.charAt(this.at) === ',' && this.at++ >= 0)
    if (this.#text.charAt(this.at) !== closing) return null
    this.at++
    if (isKnown) this.isSure = true
    return true
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.#text)?.[0] ?? ''
    this.at += found.length
    return found
  }
}

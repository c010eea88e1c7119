import { parseBase64, toBase64 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'

/** The part of Structured Field Values (RFC 9651) that message signatures use. */
export type BareItem = string | number | boolean | Uint8Array
export type Parameters = ReadonlyMap<string, BareItem>

export interface Item {
  readonly value: BareItem
  readonly parameters: Parameters
}

export interface InnerList {
  readonly items: readonly Item[]
  readonly parameters: Parameters
}

export type Dictionary = ReadonlyMap<string, Item | InnerList>

/** One header block of a server is 16 KiB in Node's default; no field can be longer. */
export const fieldCharactersMax = 16_384
const membersMax = 64

/**
 * Parses a Dictionary. Throws a MalformedError on what RFC 9651 refuses and on what it would let a
 * later value overwrite in silence: a repeated key, a repeated parameter.
 */
export function parseDictionary(text: string): Dictionary {
  const parser = new FieldParser(text)
  return parser.dictionary()
}

/** Parses one Inner List and nothing after it. */
export function parseInnerList(text: string): InnerList {
  const parser = new FieldParser(text)
  const list = parser.innerList()
  parser.end()
  return list
}

export function isInnerList(member: Item | InnerList): member is InnerList {
  return 'items' in member
}

export function formatMember(member: Item | InnerList): string {
  if (!isInnerList(member)) return formatItem(member)
  return `(${member.items.map(formatItem).join(' ')})${formatParameters(member.parameters)}`
}

export function formatItem(item: Item): string {
  return `${formatBareItem(item.value)}${formatParameters(item.parameters)}`
}

export function formatParameters(parameters: Parameters): string {
  let text = ''
  for (const [key, value] of parameters) {
    text += value === true ? `;${key}` : `;${key}=${formatBareItem(value)}`
  }
  return text
}

export function formatBareItem(value: BareItem): string {
  if (typeof value === 'boolean') return value ? '?1' : '?0'
  if (typeof value === 'number') {
    if (!isInteger(value)) throw new TypeError('a structured integer has at most 15 digits')
    return String(value)
  }
  if (value instanceof Uint8Array) return `:${toBase64(value)}:`
  if (!/^[\x20-\x7e]*$/.test(value)) throw new TypeError('a structured string is printable ASCII')
  // Nearly every value has nothing to escape, and to look for it costs less than to replace it.
  const escaped = /["\\]/.test(value) ? value.replaceAll(/["\\]/g, '\\$&') : value
  return `"${escaped}"`
}

function isInteger(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) <= 999_999_999_999_999
}

const keyForm = /[a-z*][a-z0-9_.*-]{0,63}/y
const integerForm = /-?[0-9]{1,15}(?![0-9.])/y
const stringForm = /"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"/y
const bytesForm = /:([A-Za-z0-9+/=]*):/y
const booleanForm = /\?[01]/y
const commaForm = /[ \t]*,[ \t]*/y
const spacesForm = / */y

class FieldParser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    if (text.length > fieldCharactersMax) throw new MalformedError('the field is too long')
    this.#text = text
  }

  dictionary(): Dictionary {
    const members = new Map<string, Item | InnerList>()
    this.#find(spacesForm)
    for (;;) {
      const key = this.#expect(keyForm, 'a dictionary key')
      if (members.has(key)) throw new MalformedError(`the field has two members named ${key}`)
      if (members.size === membersMax) throw new MalformedError('the field has too many members')
      members.set(key, this.#memberValue())
      if (this.#find(commaForm) === null) break
    }
    this.#find(spacesForm)
    this.end()
    return members
  }

  innerList(): InnerList {
    this.#symbol('(')
    const items: Item[] = []
    this.#find(spacesForm)
    while (this.#text[this.#at] !== ')') {
      if (items.length === membersMax) throw new MalformedError('the list has too many items')
      items.push(this.#item())
      const spaces = this.#find(spacesForm)
      if (spaces === '' && this.#text[this.#at] !== ')') {
        throw new MalformedError('the items of a list are not apart')
      }
    }
    this.#symbol(')')
    return { items, parameters: this.#parameters() }
  }

  end(): void {
    if (this.#at !== this.#text.length) throw new MalformedError('text follows the field value')
  }

  #memberValue(): Item | InnerList {
    if (this.#text[this.#at] !== '=') return { value: true, parameters: this.#parameters() }
    this.#at++
    return this.#text[this.#at] === '(' ? this.innerList() : this.#item()
  }

  #item(): Item {
    return { value: this.#bareItem(), parameters: this.#parameters() }
  }

  #parameters(): Parameters {
    const parameters = new Map<string, BareItem>()
    while (this.#text[this.#at] === ';') {
      this.#at++
      this.#find(spacesForm)
      const key = this.#expect(keyForm, 'a parameter')
      if (parameters.has(key)) throw new MalformedError(`the parameter ${key} occurs twice`)
      if (parameters.size === membersMax) throw new MalformedError('there are too many parameters')
      parameters.set(key, this.#parameterValue())
    }
    return parameters
  }

  #parameterValue(): BareItem {
    if (this.#text[this.#at] !== '=') return true
    this.#at++
    return this.#bareItem()
  }

  #bareItem(): BareItem {
    const first = this.#text[this.#at]
    if (first === '"') return unescape(this.#expect(stringForm, 'a string'))
    if (first === ':') return bytes(this.#expect(bytesForm, 'a byte sequence'))
    if (first === '?') return this.#expect(booleanForm, 'a boolean') === '?1'
    return Number(this.#expect(integerForm, 'a string, integer, boolean or byte sequence'))
  }

  #symbol(symbol: string): void {
    if (this.#text[this.#at] !== symbol) throw new MalformedError(`the field has no ${symbol}`)
    this.#at++
  }

  #expect(form: RegExp, what: string): string {
    const found = this.#find(form)
    if (found === null) throw new MalformedError(`the field has no ${what} where one belongs`)
    return found
  }

  #find(form: RegExp): string | null {
    form.lastIndex = this.#at
    const match = form.exec(this.#text)
    if (match === null) return null
    this.#at += match[0].length
    return match[0]
  }
}

function unescape(quoted: string): string {
  return quoted.slice(1, -1).replaceAll(/\\(["\\])/g, '$1')
}

function bytes(delimited: string): Uint8Array {
  const parsed = parseBase64(delimited.slice(1, -1))
  if (parsed === null) throw new MalformedError('the byte sequence is not canonical base64')
  return parsed
}

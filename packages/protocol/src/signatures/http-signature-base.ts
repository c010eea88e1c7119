import { MalformedError } from '../encoding/malformed-error.ts'
import {
  fieldCharactersMax,
  formatItem,
  formatMember,
  formatParameters,
  type InnerList,
  type Item,
  parseDictionary,
  parseInnerList,
} from './http-signature-fields.ts'

export type HeaderList = readonly (readonly [string, string])[]

/** A request as it is signed. Header names are lower-case; a repeated name is several pairs. */
export interface SignableRequest {
  readonly method: string
  /** Path and query, as they stand in the request line. */
  readonly path: string
  /** Host, with the port where it is not the scheme's own. */
  readonly authority: string
  readonly headers: HeaderList
  /** `https` unless stated otherwise; only `@target-uri` and the default port depend on it. */
  readonly scheme?: 'http' | 'https'
  /** True when there is content; if absent, the headers that describe content decide. */
  readonly hasBody?: boolean
  /** True when the content is read as a stream of frames, which has no digest beforehand. */
  readonly isStreamed?: boolean
}

export interface SignableResponse {
  readonly status: number
  readonly headers: HeaderList
}

/** A response, and the request that it answers, for components with `;req`. */
export interface Answer {
  readonly response: SignableResponse
  readonly request: SignableRequest | null
}

/** The metadata of one signature (RFC 9421, section 2.3). Times are Unix seconds. */
export interface SignatureParams {
  readonly created: number
  readonly expires: number | null
  readonly keyId: string
  readonly nonce: string | null
  readonly tag: string | null
  /** `ed25519` as well where the signer states none. */
  readonly alg: MessageAlgorithm
}

/** The profile covers nine components; four times that is generous and still cheap to refuse. */
export const signatureComponentsMax = 36

/**
 * The algorithms of message signatures: Ed25519 over the base (RFC 9421, section 3.3.6), and one
 * Ed25519 signature for the bases of several messages (`message-batch.ts`).
 */
export type MessageAlgorithm = 'ed25519' | 'countersign-ed25519-batch'
export const batchAlgorithm = 'countersign-ed25519-batch' satisfies MessageAlgorithm

/** Messages of one signature: the path of each has at most five hashes. */
export const messageBatchMax = 32

/** Lengths of the signature value of one message of a batch: one to five hashes of its path. */
export const batchSignatureBytes: ReadonlySet<number> = new Set([98, 130, 162, 194, 226])

/** Reports whether a signature value of `length` bytes can be one of this algorithm. */
export function isSignatureLength(alg: MessageAlgorithm, length: number): boolean {
  return alg === batchAlgorithm ? batchSignatureBytes.has(length) : length === 64
}

const requestComponents = ['@method', '@authority', '@path', '@query', '@target-uri'] as const
type RequestComponent = (typeof requestComponents)[number]
const fieldName = /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/
// Visible ASCII, spaces and tabs: a line break here could add a line to the signature base.
const fieldContent = /^[\t\x20-\x7e]*$/
const paramsPrefix = '"@signature-params": '

/**
 * The text that is signed (RFC 9421, section 2.5). `input` is the inner list with parameters of one
 * Signature-Input member. Throws a MalformedError when a component cannot be derived from
 * `message`.
 */
export function createSignatureBase(input: string, message: SignableRequest | Answer): string {
  return baseOfList(readInput(parseInnerList(input)), message)
}

/** As `createSignatureBase`, for an input that was read already. */
export function baseOfList(
  { list, components, input }: SignatureInput,
  message: SignableRequest | Answer,
): string {
  let base = ''
  for (const [at, item] of list.items.entries()) {
    base += `${components[at] ?? ''}: ${componentValue(item, message)}\n`
  }
  return `${base}${paramsPrefix}${input}`
}

/** As `createSignatureBase`, for an `input` that was made of `components`. */
export function baseOfComponents(
  components: readonly string[],
  input: string,
  message: SignableRequest | Answer,
): string {
  let base = ''
  for (const [identifier, item] of coveredOf(components)) {
    base += `${identifier}: ${componentValue(item, message)}\n`
  }
  return `${base}${paramsPrefix}${input}`
}

/** A signer covers one of a few lists of components, over and over. */
const listsMax = 256
const lists = new Map<string, Covered>()
type Covered = readonly (readonly [identifier: string, Item])[]

function coveredOf(components: readonly string[]): Covered {
  const text = components.join(' ')
  const known = lists.get(text)
  if (known !== undefined) return known
  const { list, input } = readInput(parseInnerList(`(${text})`))
  // The input repeats the components as they are given, so they must be given in their one form.
  if (input !== `(${text})`) {
    throw new MalformedError('a component is not named in its one form')
  }
  const covered = list.items.map((item) => [formatItem(item), item] as const)
  if (lists.size >= listsMax) lists.clear()
  lists.set(text, covered)
  return covered
}

/** The components and parameters of one signature. */
export interface SignatureInput {
  readonly list: InnerList
  /** Identifiers as they stand in a base. */
  readonly components: readonly string[]
  /** The list in its one form, as it enters the base. */
  readonly input: string
}

/** Throws a MalformedError unless every component is one that we can derive, and occurs once. */
export function readInput(list: InnerList): SignatureInput {
  if (list.items.length > signatureComponentsMax) {
    throw new MalformedError('the signature covers too many components')
  }
  for (const item of list.items) checkComponent(item)
  const components = list.items.map(formatItem)
  if (new Set(components).size !== components.length) {
    throw new MalformedError('a component is covered twice')
  }
  const input = `(${components.join(' ')})${formatParameters(list.parameters)}`
  return { list, components, input }
}

function checkComponent({ value, parameters }: Item): void {
  if (typeof value !== 'string') throw new MalformedError('a component is named by a string')
  const derived = value === '@status' || isRequestComponent(value)
  if (!derived && !fieldName.test(value)) throw new MalformedError('a component is not supported')
  for (const [name, parameter] of parameters) {
    const supported =
      (name === 'req' && parameter === true && value !== '@status') ||
      (name === 'key' && typeof parameter === 'string' && !derived)
    if (!supported) throw new MalformedError('a component parameter is not supported')
  }
}

export function readParams(list: InnerList): SignatureParams {
  const { parameters } = list
  for (const name of parameters.keys()) {
    if (!['created', 'expires', 'keyid', 'nonce', 'alg', 'tag'].includes(name)) {
      throw new MalformedError('a signature parameter is not known')
    }
  }
  const alg = parameters.get('alg') ?? 'ed25519'
  if (alg !== 'ed25519' && alg !== batchAlgorithm) {
    throw new MalformedError('the signature algorithm is not ed25519')
  }
  const created = parameters.get('created')
  const expires = parameters.get('expires') ?? null
  const keyId = parameters.get('keyid')
  if (!isTime(created) || (expires !== null && !isTime(expires))) {
    throw new MalformedError('the signature does not state when it was created, or expires oddly')
  }
  if (typeof keyId !== 'string' || keyId === '') throw new MalformedError('the key is not named')
  const [nonce, tag] = [parameters.get('nonce') ?? null, parameters.get('tag') ?? null]
  if (!isTextOrNull(nonce) || !isTextOrNull(tag)) {
    throw new MalformedError('a signature parameter has the wrong type')
  }
  return { created, expires, keyId, nonce, tag, alg }
}

/** A signature base taken apart again: each covered component with its value. */
export interface ParsedSignatureBase {
  /** Identifiers as they stand in the base, such as `"@method"` or `"signature";req`. */
  readonly values: ReadonlyMap<string, string>
  readonly params: SignatureParams
}

/**
 * The input of the signature over `base`, as its Signature-Input member holds it; a base ends with
 * it.
 */
export function inputOfBase(base: string): string {
  return base.slice(base.lastIndexOf('\n') + 1 + paramsPrefix.length)
}

/** A base repeats what headers hold, at most one header block of each message. */
const baseCharactersMax = 2 * fieldCharactersMax

/**
 * Undoes `createSignatureBase`. Throws a MalformedError unless the lines are exactly those that the
 * parameters announce, in their order: no line can be smuggled in by a value.
 */
export function parseSignatureBase(base: string): ParsedSignatureBase {
  if (base.length > baseCharactersMax) throw new MalformedError('the signature base is too long')
  const lines = base.split('\n')
  const last = lines.pop() ?? ''
  if (!last.startsWith(paramsPrefix)) throw new MalformedError('the signature base has no end')
  const { list, components, input } = readInput(parseInnerList(last.slice(paramsPrefix.length)))
  if (input !== last.slice(paramsPrefix.length) || components.length !== lines.length) {
    throw new MalformedError('the signature base does not agree with its parameters')
  }
  const values = new Map<string, string>()
  for (const [position, component] of components.entries()) {
    const prefix = `${component}: `
    const line = lines[position] ?? ''
    if (!line.startsWith(prefix) || !fieldContent.test(line)) {
      throw new MalformedError('the signature base does not agree with its parameters')
    }
    values.set(component, line.slice(prefix.length))
  }
  return { values, params: readParams(list) }
}

/**
 * Returns the result of `parseSignatureBase` for the `base` of a signature whose fields were read
 * already, at a tenth of its cost. Throws a MalformedError on a base that every reader rejects.
 */
export function readSignatureBase(signed: {
  readonly components: readonly string[]
  readonly base: string
  readonly params: SignatureParams
}): ParsedSignatureBase {
  if (signed.base.length > baseCharactersMax) {
    throw new MalformedError('the signature base is too long')
  }
  const lines = signed.base.split('\n')
  const values = new Map<string, string>()
  for (const [i, component] of signed.components.entries()) {
    values.set(component, (lines[i] ?? '').slice(component.length + 2))
  }
  return { values, params: signed.params }
}

function componentValue(item: Item, message: SignableRequest | Answer): string {
  const name = String(item.value)
  const ofRequest = item.parameters.has('req')
  if ('response' in message) {
    if (ofRequest) {
      if (message.request === null) throw new MalformedError('the request is not at hand')
      return requestValue(name, item, message.request)
    }
    if (name === '@status') return statusValue(message.response.status)
    if (name.startsWith('@')) throw new MalformedError(`a response has no ${name}`)
    return fieldValue(name, item, message.response.headers)
  }
  if (ofRequest || name === '@status') throw new MalformedError(`a request has no ${name}`)
  return requestValue(name, item, message)
}

function requestValue(name: string, item: Item, request: SignableRequest): string {
  if (!isRequestComponent(name)) return fieldValue(name, item, request.headers)
  const value = derivedValue(name, request)
  if (!/^[\x21-\x7e]+$/.test(value)) throw new MalformedError(`${name} is not visible ASCII`)
  return value
}

function derivedValue(name: RequestComponent, request: SignableRequest): string {
  const { path, query } = splitTarget(request.path)
  switch (name) {
    case '@method':
      return request.method
    case '@authority':
      return normalAuthority(request)
    case '@path':
      return path
    case '@query':
      return query
    case '@target-uri':
      return `${request.scheme ?? 'https'}://${normalAuthority(request)}${request.path}`
  }
}

/** RFC 9421, 2.2.6 and 2.2.7: an empty path is `/`, an absent query is a lone question mark. */
function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  return { path: path === '' ? '/' : path, query: mark < 0 ? '?' : target.slice(mark) }
}

function normalAuthority(request: SignableRequest): string {
  const port = request.scheme === 'http' ? ':80' : ':443'
  const authority = request.authority.toLowerCase()
  return authority.endsWith(port) ? authority.slice(0, -port.length) : authority
}

function statusValue(status: number): string {
  if (!Number.isInteger(status) || status < 100 || status > 599) {
    throw new MalformedError('the status is not a final HTTP status')
  }
  return String(status)
}

function fieldValue(name: string, item: Item, headers: HeaderList): string {
  const values = fieldValues(name, headers)
  if (values.length === 0) throw new MalformedError(`the covered field ${name} is absent`)
  const combined = values.join(', ')
  if (!fieldContent.test(combined)) throw new MalformedError(`the field ${name} is not plain ASCII`)
  const key = item.parameters.get('key')
  if (typeof key !== 'string') return combined
  const member = parseDictionary(combined).get(key)
  if (member === undefined) throw new MalformedError(`the field ${name} has no member ${key}`)
  return formatMember(member)
}

export function fieldValues(name: string, headers: HeaderList): readonly string[] {
  const values: string[] = []
  for (const [header, value] of headers) {
    if (header === name || (header.length === name.length && header.toLowerCase() === name)) {
      values.push(trimmed(value))
    }
  }
  return values
}

/** Spaces and tabs only: what else `trim` takes away would be refused as content. */
function trimmed(value: string): string {
  let start = 0
  let end = value.length
  while (start < end && isBlank(value.charCodeAt(start))) start++
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--
  return value.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function isRequestComponent(name: string): name is RequestComponent {
  return (requestComponents as readonly string[]).includes(name)
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}

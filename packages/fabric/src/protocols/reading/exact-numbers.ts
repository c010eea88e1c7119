import { idLengthMax } from './known-ids.ts'

const quote = 0x22
const backslash = 0x5c
const literal = /(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,6}))?/y

/**
 * Gives the whole part of each number in `json`, digit by digit as it is written, without its sign:
 * what a reader of arbitrary precision takes for an id. Of `digitsMax` digits at most. Linear.
 */
export function visitExactNumbers(
  json: string,
  digitsMax: number,
  visit: (digits: string) => void,
): void {
  for (let at = 0; at < json.length; at++) {
    const unit = json.charCodeAt(at)
    if (unit === quote) at = endOfString(json, at)
    else if (unit >= 0x30 && unit <= 0x39) {
      literal.lastIndex = at
      const [written = '', whole = '', fraction = '', exponent = '0'] = literal.exec(json) ?? []
      const digits = wholePart(whole + fraction, whole.length + Number(exponent), digitsMax)
      if (digits !== '') visit(digits)
      at += Math.max(written.length, 1) - 1
    }
  }
}

function endOfString(json: string, from: number): number {
  for (let at = from + 1; at < json.length; at++) {
    const unit = json.charCodeAt(at)
    if (unit === quote) return at
    if (unit === backslash) at++
  }
  return json.length
}

/**
 * The first `places` of `digits`, with the noughts that are not written; empty where these are too
 * many.
 */
function wholePart(digits: string, places: number, digitsMax: number): string {
  const leading = digits.length - digits.replace(/^0+/, '').length
  if (places <= leading || places - leading > digitsMax) return ''
  return digits.slice(leading, places).padEnd(places - leading, '0')
}

/**
 * `value`, which is that of the JSON in `text`, with numbers that a double may round as the digits
 * that are written: they may be ids.
 */
export function withExactNumbers(value: unknown, text: string): unknown {
  if (!holdsRounded(value)) return value
  return JSON.parse(text, (_, each: unknown, context?: { readonly source?: string }) => {
    if (!isRounded(each)) return each
    let digits = ''
    visitExactNumbers(context?.source ?? '', idLengthMax, (found) => {
      digits = found
    })
    return digits === '' ? each : digits
  })
}

function isRounded(value: unknown): boolean {
  return typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER
}

function holdsRounded(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return isRounded(value)
  return Object.values(value).some(holdsRounded)
}

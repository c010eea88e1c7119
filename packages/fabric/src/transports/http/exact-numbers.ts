const quote = 0x22
const backslash = 0x5c
const literal = /(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,6}))?/y

/**
 * Gives the whole part of each number in `json`, digit by digit as it is written, without its sign: what
 * a reader of arbitrary precision takes for an id. Of `digitsMax` digits at most. Linear.
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

/** The first `places` of `digits`, with the noughts that are not written; empty where these are too many. */
function wholePart(digits: string, places: number, digitsMax: number): string {
  const leading = digits.length - digits.replace(/^0+/, '').length
  if (places <= leading || places - leading > digitsMax) return ''
  return digits.slice(leading, places).padEnd(places - leading, '0')
}

/** The lengths of HPACK's Huffman codes in bits (RFC 7541, appendix B). */
const codes: readonly (readonly [bits: number, characters: string])[] = [
  [5, '012aceiost'],
  [6, ' %-./3456789=A_bdfghlmnpru'],
  [7, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
  [8, '&*,;XZ'],
  [10, '!"()?'],
  [11, "'+|"],
  [12, '#>'],
  [13, '$@[]~'],
  [14, '^}'],
  [15, '<`{'],
]
/** The code of NUL, and less than that of every other character that is not listed. */
const otherBits = 13
const bitsOf = new Uint8Array(256).fill(otherBits)
for (const [bits, characters] of codes) {
  for (const each of characters) bitsOf[each.charCodeAt(0)] = bits
}

/** Names of the static table (RFC 7541, appendix A), which are one octet on the wire. */
const staticNames: ReadonlySet<string> = new Set(
  `:authority :method :path :scheme :status accept-charset accept-encoding accept-language
  accept-ranges accept access-control-allow-origin age allow authorization cache-control
  content-disposition content-encoding content-language content-length content-location content-range
  content-type cookie date etag expect expires from host if-match if-modified-since if-none-match
  if-range if-unmodified-since last-modified link location max-forwards proxy-authenticate
  proxy-authorization range referer refresh retry-after server set-cookie strict-transport-security
  transfer-encoding user-agent vary via www-authenticate`.split(/\s+/),
)
/** Values that the static table has for some name of a request; such a field is one octet. */
const staticValues: ReadonlySet<string> = new Set([
  '',
  'GET',
  'POST',
  '/',
  '/index.html',
  'http',
  'https',
  'gzip, deflate',
])

/** Length of the frame head, which precedes the fields of a head. */
const frameHeadBytes = 9

/**
 * The fewest octets that a head of `rawHeaders` (names and values) can have taken on an HTTP/2
 * connection whose compression table has no entries of the client's: each string in the shorter of
 * its two forms.
 */
export function fewestHeadOctets(rawHeaders: readonly string[]): number {
  let octets = frameHeadBytes
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    const value = rawHeaders[at + 1] ?? ''
    octets++
    const isKnown = staticNames.has(name)
    if (isKnown && staticValues.has(value)) continue
    octets += 1 + fewestOctets(value)
    if (!isKnown) octets += 1 + fewestOctets(name)
  }
  return octets
}

/** Of a head that may refer to entries which the client has put into the table. */
export function fewestReferringOctets(rawHeaders: readonly string[]): number {
  return frameHeadBytes + rawHeaders.length / 2
}

function fewestOctets(text: string): number {
  let bits = 0
  for (let i = 0; i < text.length; i++) bits += bitsOf[text.charCodeAt(i) & 0xff] as number
  return Math.min(text.length, Math.ceil(bits / 8))
}

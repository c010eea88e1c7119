import { ALNUM, isEscapeLetter, KIND, LETTER, MAIL_PUNCTUATION, NON_ASCII } from '../text/ascii.ts'
import type { Scan } from '../text/view.ts'

/** RFC 5321, section 4.5.3.1: 64 octets before the sign, 255 after it. */
const localBytesMax = 64
const domainBytesMax = 255

/** File endings that are not top-level domains: `icon@2x.png` is a picture, not a person. */
const FILE_ENDINGS = new Set(
  'png jpg jpeg gif svg webp avif js mjs cjs ts tsx jsx css json html htm xml yaml yml txt log tgz gz lock map woff wasm toml pdf docx xlsx'.split(
    ' ',
  ),
)

/**
 * Reports the address around the `@` at `at`. Both directions are bounded, so a row of `@` is
 * linear.
 */
export function scanEmail(scan: Scan, at: number): void {
  const { bytes, from, to } = scan.view
  // Most signs outside of addresses fail here: mentions, decorators, rows of them.
  if (at <= from || at + 1 >= to || !isMail(bytes[at - 1] as number)) return
  if (((KIND[bytes[at + 1] as number] as number) & (ALNUM | NON_ASCII)) === 0) return
  const start = localStart(scan, at)
  if (start >= at) return
  const end = domainEnd(scan, at + 1)
  if (end === 0) return
  // A user name in a URL is not an address, and `git@host:path` is a remote, not a mailbox.
  if (start - 3 >= from && isSchemeEnd(bytes, start - 1)) return
  if (isInUserInfo(scan, start)) return
  if (at - start === 3 && bytes[start] === 0x67 && bytes[at - 1] === 0x74 && bytes[end] === 0x3a)
    return
  scan.found({ dataClass: 'email', detector: 'email', start, end })
}

/** Reports whether `at` is the second slash of `://`. */
function isSchemeEnd(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x2f && bytes[at - 1] === 0x2f && bytes[at - 2] === 0x3a
}

function localStart(scan: Scan, at: number): number {
  const { bytes, from } = scan.view
  const floor = Math.max(from, at - localBytesMax)
  let start = at
  while (start > floor && isMail(bytes[start - 1] as number)) start--
  // Punctuation belongs to the sentence, and the letter of a written-out escape to the escape.
  for (;;) {
    if (start < at && isEscapeLetter(bytes, from, start)) start++
    else if (start < at && isLeadingPunctuation(bytes[start] as number)) start++
    else break
  }
  return bytes[at - 1] === 0x2e ? at : start
}

function isMail(byte: number): boolean {
  return ((KIND[byte] as number) & (ALNUM | NON_ASCII | MAIL_PUNCTUATION)) !== 0
}

function isLeadingPunctuation(byte: number): boolean {
  return byte === 0x2e || byte === 0x27 || byte === 0x2d || byte === 0x25
}

function domainEnd(scan: Scan, from: number): number {
  const { bytes } = scan.view
  const limit = Math.min(scan.view.to, from + domainBytesMax)
  let end = from
  let label = from
  let best = 0
  for (; end <= limit; end++) {
    const byte = end < limit ? (bytes[end] as number) : 0
    if (byte === 0x2d && end > label) continue
    if (((KIND[byte] as number) & (ALNUM | NON_ASCII)) !== 0) continue
    // A label just ended. It is a top-level domain if it is not the first and is made of letters.
    if (end === label) break
    if (label > from && isTopLevel(bytes, label, end)) best = end
    if (byte !== 0x2e) break
    label = end + 1
  }
  return best
}

function isTopLevel(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 2 || end - start > 63) return false
  const isPunycode = end - start > 4 && bytes[start + 2] === 0x2d && bytes[start + 3] === 0x2d
  let text = ''
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    if (!isPunycode && ((KIND[byte] as number) & (LETTER | NON_ASCII)) === 0) return false
    text += String.fromCharCode(byte | 0x20)
  }
  return !FILE_ENDINGS.has(text)
}

/**
 * Reports whether the text to the left leads, without a slash or space, to `://`: then it is
 * `user:password@`.
 */
function isInUserInfo(scan: Scan, start: number): boolean {
  const { bytes, from } = scan.view
  if (bytes[start - 1] !== 0x3a) return false
  for (let i = start - 1; i > from + 1 && start - i < localBytesMax; i--) {
    const byte = bytes[i] as number
    if (byte <= 0x20) return false
    if (byte === 0x2f) return isSchemeEnd(bytes, i)
  }
  return false
}

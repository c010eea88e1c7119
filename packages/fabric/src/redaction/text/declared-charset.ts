import { Refusal } from '../../lib/refusal.ts'

/**
 * The range in which XML, CSS and source files declare their encoding; HTML does anywhere before
 * its text.
 */
const headBytes = 1024

/** Every form of a declaration has one of these words in it. */
const declaration = /coding|charset|<meta/i
/** The content of an XML declaration: a quoted value may hold its end. */
const xmlForm = /<\?xml(?![-\w])((?:"[^"]*"|'[^']*'|[^"'?]|\?(?!>))*)(\?>)?/i
const xmlStart = '<?xml'.length
const encodingForm = /\bencoding\s*=\s*["']([^"'>]*)/gi
const phpForm = /\bdeclare\s*\(\s*encoding\s*=\s*["']([^"']*)/gi
const cssForm = /@charset\s+["']([^"']*)/gi
/** A comment in the first two lines: as Python finds it (PEP 263), and as lax readers do. */
const commentForms = [
  /^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)/g,
  /^[ \t\f]*#.*?coding[ \t]+[:=][ \t]*([-\w.]+)/g,
]
const metaForm = /<meta/i
const metaCharsetForm = /charset\s*=\s*["']?\s*([\w:.+-]{0,40})/gi
/** References of HTML, which readers undo in attributes. */
const reference = /&(?:#(?:x0*([0-9a-f]{1,6})|0*([0-9]{1,7}))|(equals|tab|newline));?/gi
const formCharsetForm = /_charset_=?([^&]{0,40})/gi

/**
 * The refusal of text that declares inside itself another charset than it was inspected in: its
 * receiver may go by that. The body is UTF-8 by now, whatever it came in.
 */
export function declaredCharsetFault(body: Uint8Array, essence: string): Refusal | null {
  const head = latin1Of(body.subarray(0, headBytes))
  if (!declaration.test(head) && !/html|xml/.test(essence)) return null
  const xml = xmlForm.exec(head)
  const isOpen = xml !== null && xml[2] === undefined && body.length > headBytes
  if (isOpen && head.trimStart().startsWith(xml[0].slice(0, xmlStart))) return openXml()
  const lines = head.split(/\r\n?|\n/, 2)
  const inHead =
    firstOther(xml?.[1] ?? '', encodingForm) ??
    firstOther(head, cssForm) ??
    firstOther(head, phpForm) ??
    lines.map((line) => firstOf(line, commentForms)).find((fault) => fault !== null)
  if (inHead) return inHead
  // A page declares itself by its type or by how it begins.
  if (!/html|xml/.test(essence) && !metaForm.test(head)) return null
  const text = latin1Of(body)
  return metaForm.test(text)
    ? firstOther(text.replaceAll(reference, signOf), metaCharsetForm)
    : null
}

/** `_charset_` (WHATWG HTML, form submission) names the charset that a form's bytes are in. */
export function formCharsetFault(decoded: Uint8Array): Refusal | null {
  return firstOther(latin1Of(decoded), formCharsetForm)
}

function signOf(_: string, hexadecimal?: string, decimal?: string, name?: string): string {
  if (name !== undefined) return name.toLowerCase() === 'equals' ? '=' : ' '
  const value = Number.parseInt(hexadecimal ?? decimal ?? '', hexadecimal === undefined ? 10 : 16)
  return value < 0x80 ? String.fromCharCode(value) : ' '
}

function openXml(): Refusal {
  const advice = `a declaration of XML that does not end within ${headBytes} bytes`
  return new Refusal('CONTENT_UNSUPPORTED', advice)
}

function firstOf(text: string, forms: readonly RegExp[]): Refusal | null {
  for (const form of forms) {
    const fault = firstOther(text, form)
    if (fault !== null) return fault
  }
  return null
}

function firstOther(text: string, form: RegExp): Refusal | null {
  for (const [, declared] of text.matchAll(form)) {
    if (!isUtf8Label(declared)) return declaredOther(declared)
  }
  return null
}

function isUtf8Label(label: string = ''): boolean {
  return /^(?:utf-?8|us-ascii|ascii)$/i.test(label.trim())
}

function declaredOther(label: string = ''): Refusal {
  return new Refusal('CONTENT_UNSUPPORTED', `the body declares the charset ${label.slice(0, 40)}`)
}

/** All names of charsets are ASCII, whatever is around them. */
function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

import { foldedText } from './folded-name.ts'
import { isOperationName } from './operations.ts'

/** Layers of escapes that a receiver may undo: those of a form, of a string, of one inside another. */
const layersMax = 4
/** How far behind the word `method` its value may stand, white space, tags and comments between. */
const valueDistanceMax = 160

/** A name as any notation writes it: quoted or not, before a colon, an equals sign or an arrow. */
const jsonRpcForm = /jsonrpc["'`\]\s]{0,16}(?:[:=]|=>)/
const memberForm = /(?:method|result|error)["'`\]\s]{0,16}(?:[:=]|=>)/
const methodForm = /method["'`\]\s]{0,16}(?:=>|[:=])/g
const wordForm = /[a-z0-9/$.:-]+/g
/** Words of everyday text that are methods as well: these count as the very next word only. */
const everydayMethods: ReadonlySet<string> = new Set(['initialize', 'ping'])

/**
 * Whether some reader could find an A2A or MCP call in `text`, in whatever notation: JSON with
 * comments, single quotes, a prefix or a second document behind it, JSON5, YAML, a form whose fields
 * are the members or whose field holds the call. It finds more than there are; it never decides what
 * a call asks for, only that text is not to pass as something else. Linear in the text.
 */
export function mayHoldCall(text: string): boolean {
  let layer = text
  for (let i = 0; i < layersMax; i++) {
    if (namesCall(foldedText(layer))) return true
    const inner = undoEscapes(layer)
    if (inner === layer) return false
    layer = inner
  }
  return true
}

function namesCall(folded: string): boolean {
  if (!folded.includes('method') && !folded.includes('jsonrpc')) return false
  return namesIn(folded) || namesIn(withoutComments(folded))
}

function namesIn(text: string): boolean {
  if (jsonRpcForm.test(text) && memberForm.test(text)) return true
  for (const { 0: name, index } of text.matchAll(methodForm)) {
    const from = index + name.length
    const words = text.slice(from, from + valueDistanceMax).match(wordForm) ?? []
    const named = words.some(
      (word, at) => isOperationName(word) && (at === 0 || !everydayMethods.has(word)),
    )
    if (named) return true
  }
  return false
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[^*]*(?:\*(?!\/)[^*]*)*\*\/|(?:\/\/|#)[^\n]*/g, '')
}

const escapeForm =
  /%(?<percent>[0-9a-f]{2})|\\u(?<unit>[0-9a-f]{4})|\\u\{(?<point>[0-9a-f]{1,6})\}|\\x(?<byte>[0-9a-f]{2})|\\(?<octal>[0-3][0-7]{2})|&#x(?<entity>[0-9a-f]{1,6});?|&#(?<decimal>[0-9]{1,7});?|&(?<named>quot|apos);|\\\r?\n|\\(?<kept>["'/\\])|\+/gi

/** Escapes of forms, strings and markup, one layer of them. */
function undoEscapes(text: string): string {
  return text.replaceAll(escapeForm, (all, ...found: unknown[]) => {
    const { percent, unit, point, byte, octal, entity, decimal, named, kept } = found.at(
      -1,
    ) as Record<string, string | undefined>
    const hex = percent ?? unit ?? point ?? byte ?? entity
    if (hex !== undefined) return characterOf(Number.parseInt(hex, 16))
    if (octal !== undefined) return characterOf(Number.parseInt(octal, 8))
    if (decimal !== undefined) return characterOf(Number(decimal))
    if (named !== undefined) return named === 'quot' ? '"' : "'"
    return kept ?? (all === '+' ? ' ' : '')
  })
}

function characterOf(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : ''
}

import { freeWork, STEPS, type Work } from './reading-steps.ts'
import { type Dialect, type Family, fullWidth, unescapeAll, unescapeOnce } from './unescape-all.ts'

/** Matches the start of an escape of any family. */
const sign = /[%\\&`]/
/** A backslash before a digit, or something that another layer may turn into a backslash. */
const digits = /\\[xo]?[0-9a-f]|%(?:25|5c)|&(?:#|amp|bsol|percnt)|[\\%]u(?:005c|\{)/i
/**
 * A sign that is escaped, or two so near to one another that one may be a part of the other's
 * escape.
 */
const nested =
  /(?:%u?|\\[uUxo]?\{?|&#x?)0*(?:25|26|5c|92|134|37|38|45|46|ff0[56]|ff3c|6528[56]|65340)|&(?:percnt|bsol)|\\N\{|[%\\&][#ux]?[0-9a-f{]{1,8}[%\\&]/i
/** Behind `\\x`, a digit that C# has no room for, or an escape that may be one. */
const fifthDigit = /\\x(?:[0-9a-f]{5}|[0-9a-f]{0,4}[%\\&])/i
/** Layers of which each family alone may be the outer one, around one of any families. */
const outerLayersMax = 2

/**
 * `text` as each reader may take it: as it is, and with escapes undone in each dialect of which it
 * has any. Text that stands in none of these is not there for a reader of the notations that are
 * promised.
 *
 * `unescapeAll` follows escapes that are completed by others, in one pass and in any order. It
 * cannot distinguish an outer layer from an inner one where they meet: of `\u005c\u0075` the second
 * backslash is the reader's, and the first is not. So the outer layers are undone one by one as
 * well, as a reader does.
 *
 * The steps of `work` are all that bounds them: a count of readings would let pass what stands in
 * the next.
 */
export function* readingsOf(text: string, work: Work = freeWork): Generator<string> {
  const given = new Set<string>()
  const search = { work, searched: new Map<string, number>() }
  for (const reading of readingsWithin(text, search, outerLayersMax)) {
    const narrow = narrowed(reading)
    for (const each of narrow === reading ? [reading] : [reading, narrow]) {
      if (given.has(each)) continue
      given.add(each)
      yield each
    }
  }
}

interface Search {
  readonly work: Work
  /** The outer layers that were undone of each text: many orders of them lead to the same. */
  readonly searched: Map<string, number>
}

function* readingsWithin(text: string, search: Search, outerLayers: number): Generator<string> {
  const { work, searched } = search
  const before = searched.get(text) ?? -1
  if (before >= outerLayers) return
  searched.set(text, outerLayers)
  yield text
  const narrow = narrowed(text)
  if (!sign.test(narrow)) return
  if (before === -1) yield* inAllLayers(narrow, work)
  if (outerLayers === 0) return
  // Those of a string inside a string are one for `unescapeAll`, too.
  const outer = narrow.replaceAll(/\\{2,}/g, '\\')
  if (!nested.test(outer)) return
  for (const [family, dialect] of outersOf(outer)) {
    work.spend(outer.length * STEPS.layerByte)
    const { text: inner, isLayered } = unescapeOnce(outer, family, dialect)
    if (isLayered) yield* readingsWithin(inner, search, outerLayers - 1)
  }
}

function* inAllLayers(text: string, work: Work): Generator<string> {
  const undo = (dialect?: Dialect): string => {
    work.spend(text.length * STEPS.layerByte)
    return unescapeAll(text, dialect)
  }
  const plain = undo()
  yield plain
  if (/\bS:[0-9]/.test(plain)) yield undo('bare-hex')
  for (const dialect of dialectsOf(text)) yield undo(dialect)
}

function* outersOf(text: string): Generator<readonly [Family, Dialect]> {
  if (text.includes('%')) yield ['percent', 'usual']
  if (text.includes('&')) yield ['entity', 'usual']
  if (!/[\\`]/.test(text)) return
  yield ['backslash', 'usual']
  for (const dialect of dialectsOf(text)) yield ['backslash', dialect]
}

/** Those that may read a number behind a backslash in another way than usual. */
function* dialectsOf(text: string): Generator<Dialect> {
  if (!digits.test(text)) return
  yield* ['decimal', 'css'] as const
  if (isMixed(text)) yield* ['three-decimal', 'long-hex'] as const
  if (fifthDigit.test(text)) yield 'four-hex'
}

/**
 * Reports whether digits follow a backslash together with something that belongs to the number in
 * some dialects only.
 */
const isMixed = (text: string): boolean =>
  /\\[0-9]/.test(text) && /\\[0-9]{1,3}[0-9a-f]|\\x/i.test(text)

/** Full-width signs as those of ASCII: a reader may fold them before or after it undoes escapes. */
function narrowed(text: string): string {
  if (!/[\uff01-\uff5e]/.test(text)) return text
  return text.replaceAll(/[\uff01-\uff5e]/g, (wide) =>
    String.fromCharCode(wide.charCodeAt(0) - fullWidth),
  )
}

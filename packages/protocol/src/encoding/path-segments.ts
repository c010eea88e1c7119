import { utf8 } from './bytes.ts'
import { foldedWord } from './folded-word.ts'
import { decodePercent } from './plain-text.ts'

/** One segment of a path. */
export interface PathSegment {
  /** Decoded, in its own case and without parameters: for identifiers. */
  readonly text: string
  /**
   * As `foldedWord` gives it, without blanks around it and dots behind it: for words of a protocol.
   */
  readonly word: string
  /**
   * Receivers differ over this segment: parameters, blanks or dots at an end, unseen characters.
   */
  readonly isAmbiguous: boolean
}

/** Layers of percent-encoding that are undone. `readHead` lets one in. */
const layersMax = 3

/**
 * The segments of `path`, without a query, as the laxest receiver sees them. Everything that
 * decides by a path reads it here, so that no two parts of the fabric disagree. Servlet containers
 * cut parameters (`;x=1`), Windows drops dots and blanks at the end, routers fold case, and proxies
 * merge empty segments and resolve dot segments.
 */
export function readPathSegments(path: string): readonly PathSegment[] {
  let decoded = path
  for (let i = 0; i < layersMax && decoded.includes('%'); i++) decoded = undoPercent(decoded)
  const segments: PathSegment[] = []
  for (const given of decoded.split(/[/\\]/)) {
    const segment = readSegment(given)
    if (isParent(given)) segments.pop()
    if (segment.word !== '') segments.push(segment)
  }
  return segments
}

/** Reports whether a decoded segment is empty, or a dot segment, to some receiver. */
export function isVoidSegment(decoded: string): boolean {
  return readSegment(decoded).word === ''
}

/** Characters at which some receiver cuts a decoded segment. */
const segmentEnd = /[;\0?#]/

function readSegment(given: string): PathSegment {
  const [text = ''] = given.split(segmentEnd, 1)
  const word = withoutEnd(foldedWord(text).trim())
  const isAmbiguous = text !== given || !isPlain(text)
  return { text, word, isAmbiguous }
}

function isParent(given: string): boolean {
  const [name = ''] = given.split(segmentEnd, 1)
  return foldedWord(name).replaceAll(/\s/g, '') === '..'
}

/** Without dots and blanks at its end. By hand: the regular expression is not linear. */
function withoutEnd(word: string): string {
  let end = word.length
  while (end > 0 && '. '.includes(word[end - 1] ?? '')) end--
  return word.slice(0, end)
}

const unclear = /[\p{Cc}\p{Cf}\p{Z}\p{Variation_Selector}]/u

function isPlain(text: string): boolean {
  if (text.endsWith('.') || text !== text.trim()) return false
  return /^[\x21-\x7e]*$/.test(text) || !unclear.test(text.replaceAll(' ', ''))
}

const laxDecoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Undoes one layer of percent-encoding. */
export function undoPercent(path: string): string {
  return path.replaceAll(/(?:%[0-9a-fA-F]{2})+/g, (run) =>
    laxDecoder.decode(decodePercent(utf8(run))),
  )
}

/** Above are ideographs and private use, and the tags and selectors at the end. */
const blockEnd = 0x20000
const tagsFrom = 0xe0000
const tagsTo = 0xe0fff
/** Shown as nothing, though Unicode has it among the symbols. */
const blankBraille = 0x2800

const NOTHING = /^[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]$/u
const MARK = /^\p{M}$/u

/**
 * 1 for what shows nothing, 2 for what only changes its neighbour. Built on first use, from the
 * engine's Unicode data.
 */
let table: Uint8Array | null = null

function buildTable(): Uint8Array {
  const built = new Uint8Array(blockEnd)
  for (let code = 0x80; code < blockEnd; code++) {
    if (code >= 0xd800 && code <= 0xdfff) continue
    const sign = String.fromCodePoint(code)
    if (code === blankBraille || NOTHING.test(sign)) built[code] = 1
    else if (MARK.test(sign)) built[code] = 2
  }
  return built
}

/**
 * Reports whether the sign beyond ASCII is invisible: control characters, zero-width marks,
 * selectors, tags, fillers.
 */
export function isInvisible(code: number): boolean {
  if (code >= blockEnd) return code >= tagsFrom && code <= tagsTo
  table ??= buildTable()
  return table[code] === 1
}

/**
 * Reports whether the sign is a combining mark (category M), such as an accent, a stroke or a
 * keycap.
 */
export function isMark(code: number): boolean {
  if (code >= blockEnd) return false
  table ??= buildTable()
  return table[code] === 2
}

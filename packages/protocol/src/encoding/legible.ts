/**
 * Characters that a terminal or a page does not show as themselves: controls, formats and
 * directions, private and unassigned ones, separators that break lines, blanks other than the
 * space, and what is drawn as nothing.
 */
const hidden =
  /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}|(?:^|(?<=\p{M}\p{M}))\p{M}/gu

/** Blanks at an edge, or several in a row, look like the gap between two columns. */
const gaps = /^ | $| {2}/

const braced = (character: string): string => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`

/**
 * `text` with every hidden character as a visible escape (`\u{202e}`): names, reasons and
 * operations come from callers, and printed raw they could move the cursor, rewrite a verdict above
 * them, or turn the reading order of a line around.
 */
export function legible(text: string): string {
  return text.replace(hidden, braced)
}

/** As `legible`, for pages, where a line break stays inside of its own value. */
export function legibleLines(text: string): string {
  return text.split('\n').map(legible).join('\n')
}

/**
 * One value as it is shown next to others: legible, and in quotes where its own blanks or quotes
 * could be taken for the layout around it. Two values are never shown alike.
 */
export function legibleValue(text: string): string {
  const shown = legible(text)
  const isPlain = !gaps.test(text) && !text.startsWith('"') && !text.includes('\\u{')
  return shown === text && isPlain ? text : quoted(text)
}

/** Names, ids, paths and methods: nothing that ends a word or begins a quotation. */
const word = /^[\p{L}\p{N}/][\p{L}\p{N}\p{M}._:/@+~#&=%?!$*-]*$/u

/**
 * One value inside of a sentence or next to others: as it is where it is a single word, otherwise
 * in quotes, so that no text of a caller or a connector reads as the words around it.
 */
export function quotedUnlessWord(text: string): string {
  return word.test(text) && legible(text) === text ? text : quoted(text)
}

/** Quotation marks of any script end in an escape, as the plain one does. */
const otherQuotes = /[\p{Pi}\p{Pf}\u201a\u201e\u2033\u2036\u301d-\u301f\uff02]/gu

function quoted(text: string): string {
  const escaped = text.replaceAll(/[\\"]/g, '\\$&')
  const shown = legible(escaped).replaceAll(/(?<= ) /g, '\\u{20}')
  return `"${shown.replaceAll(otherQuotes, braced)}"`
}

/**
 * Reports whether `text` is shown as it is: the syntax of operations, tools and other recorded
 * names.
 */
export function isLegible(text: string): boolean {
  return text.search(hidden) === -1 && !gaps.test(text)
}

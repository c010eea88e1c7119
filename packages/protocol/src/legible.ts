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
 * `text` with every hidden character as a visible escape (`\u{202e}`): names, reasons and operations
 * come from callers, and printed raw they could move the cursor, rewrite a verdict above them, or
 * turn the reading order of a line around.
 */
export function legible(text: string): string {
  return text.replace(hidden, braced)
}

/** As `legible`, for pages, where a line break stays inside of its own value. */
export function legibleLines(text: string): string {
  return text.split('\n').map(legible).join('\n')
}

/**
 * One value as it is shown beside others: legible, and in quotes where its own blanks or quotes
 * could be taken for the layout around it. Two values are never shown alike.
 */
export function legibleValue(text: string): string {
  const shown = legible(text)
  const isPlain = !gaps.test(text) && !text.startsWith('"') && !text.includes('\\u{')
  if (shown === text && isPlain) return text
  const escaped = text.replaceAll(/[\\"]/g, '\\$&')
  return `"${legible(escaped).replaceAll(/(?<= ) /g, '\\u{20}')}"`
}

/** Whether `text` is shown as it is: the syntax of operations, tools and other recorded names. */
export function isLegible(text: string): boolean {
  return text.search(hidden) === -1 && !gaps.test(text)
}

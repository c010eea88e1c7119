/** Blocks of Unicode with characters that NFKC turns into ASCII. */
const blocks: readonly (readonly [from: number, to: number])[] = [
  [0xa0, 0x24f],
  [0x2b0, 0x2ff],
  [0x1d00, 0x1dbf],
  [0x1e00, 0x1eff],
  [0x2000, 0x24ff],
  [0x2a74, 0x2a76],
  [0x2c60, 0x2c7f],
  [0x3200, 0x33ff],
  [0xa780, 0xa7ff],
  [0xab50, 0xab6f],
  [0xfb00, 0xfb06],
  [0xfe10, 0xfe6f],
  [0xff01, 0xff5e],
  [0x10780, 0x107bf],
  [0x1ccd6, 0x1ccf9],
  [0x1d400, 0x1d7ff],
  [0x1f100, 0x1f1ff],
  [0x1fbf0, 0x1fbf9],
]

/** As many as the blocks have characters; empty for one that is not ASCII to anyone. */
const folds = new Map<number, string>([
  // Java compares text in upper case first.
  [0x131, 'i'],
])

/**
 * The ASCII text that readers take a character for, in lower case; undefined for none. One
 * character at a time: `normalize` sorts the marks behind a letter, in time quadratic in their
 * number.
 */
export function asciiOf(codePoint: number): string | undefined {
  const known = folds.get(codePoint) ?? fold(codePoint)
  return known === '' ? undefined : known
}

function fold(codePoint: number): string {
  if (!blocks.some(([from, to]) => codePoint >= from && codePoint <= to)) return ''
  const folded = String.fromCodePoint(codePoint).normalize('NFKC').toLowerCase()
  const ascii = folded.replaceAll(/[^\x21-\x7e]/g, '')
  folds.set(codePoint, ascii)
  return ascii
}

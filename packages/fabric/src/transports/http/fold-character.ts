/** Blocks of Unicode with characters that NFKC turns into ASCII. */
const blocks: readonly (readonly [from: number, to: number])[] = [
  [0x80, 0x24ff],
  [0x3200, 0x33ff],
  [0xfb00, 0xfb06],
  [0xfe10, 0xfe6f],
  [0xff01, 0xff5e],
  [0x1d400, 0x1d7ff],
  [0x1f100, 0x1f1ff],
  [0x1fbf0, 0x1fbf9],
]

let folds: ReadonlyMap<number, string> | undefined

/**
 * The ASCII text that readers take a character for, in lower case; undefined for none. One character
 * at a time: `normalize` sorts the marks behind a letter, in time quadratic in their number.
 */
export function asciiOf(codePoint: number): string | undefined {
  folds ??= readFolds()
  return folds.get(codePoint)
}

function readFolds(): ReadonlyMap<number, string> {
  const found = new Map<number, string>([
    // Java compares text in upper case first.
    [0x131, 'i'],
  ])
  for (const [from, to] of blocks) {
    for (let codePoint = from; codePoint <= to; codePoint++) {
      const folded = String.fromCodePoint(codePoint).normalize('NFKC').toLowerCase()
      const ascii = folded.replaceAll(/[^\x20-\x7e]/g, '')
      if (ascii.trim() !== '') found.set(codePoint, ascii)
    }
  }
  return found
}

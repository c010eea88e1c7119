/**
 * Signs that other scripts and symbols use for digits: decimal digits of every script (Unicode,
 * Nd), signs that contain one (circled, in parentheses, with a full stop, raised, lowered), Roman
 * numerals of the block Number Forms, and the Han digits of everyday use. Two digits of one sign
 * stay two.
 */
export type NumberForms = ReadonlyMap<number, string>

/** First and last sign of rows that count up from the given digit, and have no decomposition. */
const ROWS: readonly (readonly [first: number, last: number, digit: number])[] = [
  [0x2160, 0x2168, 1], // Roman numerals
  [0x2170, 0x2178, 1],
  [0x24f5, 0x24fd, 1], // double circled
  [0x24ff, 0x24ff, 0], // negative circled zero
  [0x2776, 0x277e, 1], // dingbats: negative circled
  [0x2780, 0x2788, 1], // dingbats: circled sans-serif
  [0x278a, 0x2792, 1], // dingbats: negative circled sans-serif
  [0x3021, 0x3029, 1], // Hangzhou numerals
  [0x1369, 0x1371, 1], // Ethiopic digits
  [0x10107, 0x1010f, 1], // Aegean numbers
  [0x1d360, 0x1d368, 1], // counting rods
  [0x1f10b, 0x1f10b, 0],
  [0x1f10c, 0x1f10c, 0],
]

/** Han digits in everyday use, and as banks write them, by the digit that each stands for. */
const HAN: ReadonlyMap<string, string> = new Map(
  [
    '〇零',
    '一壹',
    '二贰貳弐',
    '三叁參参',
    '四肆',
    '五伍',
    '六陆陸',
    '七柒',
    '八捌',
    '九玖',
  ].flatMap((signs, digit) => Array.from(signs, (sign) => [sign, String(digit)] as const)),
)
/** Signs of Han digits that stand in a circle, in parentheses, next to a line or as a radical. */
const hanFrom = 0x2e80
const hanTo = 0x33ff

/** The highest code point of category N is far below; the planes above hold ideographs only. */
const codeMax = 0x1ffff

let forms: NumberForms | null = null

/** Built on first use: most messages hold nothing but ASCII. */
export function numberForms(): NumberForms {
  forms ??= buildForms()
  return forms
}

function buildForms(): NumberForms {
  const built = new Map<number, string>()
  for (let code = 0x80; code <= codeMax; code++) {
    const sign = String.fromCodePoint(code)
    if (!/^\p{N}$/u.test(sign) && (code < hanFrom || code > hanTo)) continue
    // Decimal digits without a decomposition come in rows of ten that begin with zero.
    const plain = sign.normalize('NFKC')
    const [, digits] = /^[(]?(\d{1,2})[).,]?$/.exec(plain) ?? []
    const han = HAN.get(plain.replaceAll(/[()]/g, ''))
    if (han !== undefined) built.set(code, han)
    else if (digits !== undefined) built.set(code, digits)
    else if (/^\p{Nd}$/u.test(sign)) built.set(code, String(digitOf(code)))
  }
  for (const [first, last, digit] of ROWS) {
    for (let code = first; code <= last; code++) built.set(code, String(digit + code - first))
  }
  for (const [sign, digit] of HAN) built.set(sign.codePointAt(0) ?? 0, digit)
  return built
}

/** Unicode keeps the ten digits of a script together (The Unicode Standard, section 4.6). */
function digitOf(code: number): number {
  let zero = code
  while (code - zero < 9 && /^\p{Nd}$/u.test(String.fromCodePoint(zero - 1))) zero--
  // Rows may follow one another: each begins at a multiple of ten from the first.
  let first = zero
  while (/^\p{Nd}$/u.test(String.fromCodePoint(first - 1))) first--
  return (code - first) % 10
}

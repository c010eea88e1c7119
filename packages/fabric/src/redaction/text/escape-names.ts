/**
 * Named character references (HTML, section 13.5) of what stands around names, values and digits.
 */
export const ENTITIES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    quot: 0x22,
    amp: 0x26,
    apos: 0x27,
    lt: 0x3c,
    gt: 0x3e,
    nbsp: 0x20,
    colon: 0x3a,
    equals: 0x3d,
    commat: 0x40,
    period: 0x2e,
    hyphen: 0x2d,
    dash: 0x2d,
    sol: 0x2f,
    lowbar: 0x5f,
    comma: 0x2c,
    semi: 0x3b,
    dollar: 0x24,
    percnt: 0x25,
    num: 0x23,
    excl: 0x21,
    quest: 0x3f,
    ast: 0x2a,
    midast: 0x2a,
    plus: 0x2b,
    lpar: 0x28,
    rpar: 0x29,
    lsqb: 0x5b,
    lbrack: 0x5b,
    rsqb: 0x5d,
    rbrack: 0x5d,
    lcub: 0x7b,
    lbrace: 0x7b,
    rcub: 0x7d,
    rbrace: 0x7d,
    bsol: 0x5c,
    verbar: 0x7c,
    vert: 0x7c,
    grave: 0x60,
    Hat: 0x5e,
    UnderBar: 0x5f,
    ensp: 0x20,
    emsp: 0x20,
    thinsp: 0x20,
    shy: 0xad,
    zwnj: 0x200c,
    zwj: 0x200d,
    ndash: 0x2d,
    mdash: 0x2d,
    minus: 0x2d,
    QUOT: 0x22,
    AMP: 0x26,
    LT: 0x3c,
    GT: 0x3e,
    Tab: 0x09,
    ZeroWidthSpace: 0x200b,
    NonBreakingSpace: 0x20,
    NoBreak: 0x2060,
    InvisibleComma: 0x2063,
    InvisibleTimes: 0x2062,
    NewLine: 0x0a,
  }),
)
/** Longer names are none of these. */
export const entityNameMax = 16

const SIGNS: Readonly<Record<string, string>> = {
  SPACE: ' ',
  'EXCLAMATION MARK': '!',
  'QUOTATION MARK': '"',
  'NUMBER SIGN': '#',
  'DOLLAR SIGN': '$',
  'PERCENT SIGN': '%',
  AMPERSAND: '&',
  APOSTROPHE: "'",
  'LEFT PARENTHESIS': '(',
  'RIGHT PARENTHESIS': ')',
  ASTERISK: '*',
  'PLUS SIGN': '+',
  COMMA: ',',
  'HYPHEN-MINUS': '-',
  'FULL STOP': '.',
  SOLIDUS: '/',
  COLON: ':',
  SEMICOLON: ';',
  'LESS-THAN SIGN': '<',
  'EQUALS SIGN': '=',
  'GREATER-THAN SIGN': '>',
  'QUESTION MARK': '?',
  'COMMERCIAL AT': '@',
  'LEFT SQUARE BRACKET': '[',
  'REVERSE SOLIDUS': '\\',
  'RIGHT SQUARE BRACKET': ']',
  'CIRCUMFLEX ACCENT': '^',
  'LOW LINE': '_',
  'GRAVE ACCENT': '`',
  'LEFT CURLY BRACKET': '{',
  'VERTICAL LINE': '|',
  'RIGHT CURLY BRACKET': '}',
  TILDE: '~',
}
const DIGITS = 'ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE'.split(' ')
/** Longer names are none of ASCII. */
export const characterNameMax = 24

/**
 * The code point that `\N{…}` names in Python and Perl: of ASCII, or `U+` and its number; -1 for
 * others.
 */
export function codeOfName(given: string): number {
  const name = given.toUpperCase()
  const letter = /^LATIN (SMALL|CAPITAL) LETTER ([A-Z])$/.exec(name)
  if (letter !== null) return (letter[2] ?? '').charCodeAt(0) | (letter[1] === 'SMALL' ? 0x20 : 0)
  const number = /^U\+([0-9A-F]{1,8})$/.exec(name)?.[1]
  if (number !== undefined) return Number.parseInt(number, 16)
  const digit = name.startsWith('DIGIT ') ? DIGITS.indexOf(name.slice('DIGIT '.length)) : -1
  return digit >= 0 ? 0x30 + digit : (SIGNS[name]?.charCodeAt(0) ?? -1)
}

const none = -1
/**
 * Stands for what is decoded to nothing that a reader would take for a letter, and may be none at
 * all.
 */
export const nothing = 0x01
/** As long as the entities that are known may be. */
export const entityLettersMax = 7

/** Entities of signs that may be parts of another escape, or of a call, by `keyOf` their names. */
export const entityUnits: ReadonlyMap<number, number> = new Map(
  Object.entries({
    amp: '&',
    bsol: '\\',
    colon: ':',
    equals: '=',
    num: '#',
    percnt: '%',
    semi: ';',
    sol: '/',
  }).map(([name, character]) => [keyOf(name), character.charCodeAt(0)]),
)

function keyOf(name: string): number {
  return Array.from(name).reduce((key, letter) => key * 0x80 + letter.charCodeAt(0), 0)
}

/** Python's names of characters, as far as the words of a call have them; -1 for other text. */
export function unitOfName(name: string): number {
  const words = name.trim().toUpperCase()
  const letter = /^[A-Z -]*(?:SMALL|CAPITAL) (?:LETTER )?([A-Z])$/.exec(words)?.[1]
  if (letter !== undefined) return letter.toLowerCase().charCodeAt(0)
  if (/^U\+[0-9A-F_]+$/.test(words))
    return unitOf(Number.parseInt(words.slice(2).replaceAll('_', ''), 16))
  const sign = signNames.get(words.replace(/^FULLWIDTH /, ''))
  if (sign !== undefined) return sign.charCodeAt(0)
  if (words.endsWith('SMALL LETTER LONG S')) return 0x73
  if (words === 'KELVIN SIGN') return 0x6b
  if (words === 'PLANCK CONSTANT') return 0x68
  return unseenName.test(words) ? nothing : none
}

/** Signs that may be parts of another escape, of a call or of an id. */
const signNames: ReadonlyMap<string, string> = new Map([
  ['SOLIDUS', '/'],
  ['SLASH', '/'],
  ['REVERSE SOLIDUS', '\\'],
  ['BACKSLASH', '\\'],
  ['PERCENT SIGN', '%'],
  ['AMPERSAND', '&'],
  ['NUMBER SIGN', '#'],
  ['SEMICOLON', ';'],
  ['LEFT CURLY BRACKET', '{'],
  ['RIGHT CURLY BRACKET', '}'],
  ['HYPHEN-MINUS', '-'],
  ['LOW LINE', '_'],
  ...['ZERO', 'ONE', 'TWO', 'THREE', 'FOUR', 'FIVE', 'SIX', 'SEVEN', 'EIGHT', 'NINE'].map(
    (name, digit): [string, string] => [`DIGIT ${name}`, String(digit)],
  ),
])

/** The names of what shows nothing, or stands between words. */
const unseenName =
  /^[A-Z0-9 -]*(?:SPACE|JOINER|NON-JOINER|HYPHEN|MARK|SELECTOR-[0-9]+|SEPARATOR|TABULATION|FEED|RETURN|NULL|APPLICATION)$/

/** Above the basic plane there are letters of one more alphabet only: those of mathematics. */
export function unitOf(value: number): number {
  if (value < 0x10000) return value
  return value >= 0x1d400 && value <= 0x1d6a3 ? mathLetter(value) : nothing
}

function mathLetter(value: number): number {
  return String.fromCodePoint(value).normalize('NFKC').charCodeAt(0)
}

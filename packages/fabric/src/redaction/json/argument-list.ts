import { COMMAND_LINES, type Form, formOfAny, isLogin } from '../detectors/command-line.ts'
import { type SecretRule, secretRule } from '../detectors/secret-names.ts'
import { isSecretValue, looksMade } from '../detectors/secret-values.ts'
import { excerptOf } from '../text/ascii.ts'
import type { JsonString } from './json-string.ts'

/** So far before a switch its program is looked for, in the list or before it. */
export const programBytesMax = 512
/** A longer member is not a switch, with its value or without. */
const switchBytesMax = 320
const programs = new Map(
  COMMAND_LINES.flatMap(({ programs, switches }) => programs.map((name) => [name, switches])),
)
const literal = /"([^"\\]{1,128})"/g
export const switchRule = secretRule('password') as SecretRule

/**
 * The kind of value that a switch announces for the member behind it; `made` if that member may
 * also be something else.
 */
export type Expected = Form | 'made'

/** Reports whether a member of a list may be a switch: `-u`, `-pX`, `--user`, `/p:X`. */
export function maySwitch(bytes: Uint8Array, { from, to }: JsonString): boolean {
  if (to - from < 2 || to - from > switchBytesMax) return false
  if (bytes[from] === 0x2f) return bytes[from + 1] === 0x70 && bytes[from + 2] === 0x3a
  if (bytes[from] !== 0x2d) return false
  return bytes[from + 1] === 0x2d || ((bytes[from + 1] as number) | 0x20) > 0x60
}

/**
 * Interprets the member `text` of a list that begins at `at` as a switch of the program before it:
 * returns the kind of value that follows, and whether a password is attached to the switch.
 */
export function switchAt(
  bytes: Uint8Array,
  at: number,
  text: string,
): { readonly expected: Expected | null; readonly isSecret: boolean } {
  const before = excerptOf(bytes, Math.max(0, at - programBytesMax), at)
  const switches = switchesOf(before)
  const own = switches[text] ?? formOfAny(text, before)
  if (own !== null) return { expected: own, isSecret: false }
  for (const [name, form] of Object.entries(switches)) {
    const plain = name.slice(0, -1)
    if (!name.endsWith('*') || plain === '' || !text.startsWith(plain)) continue
    if (text !== plain) return { expected: null, isSecret: holds(form, text.slice(plain.length)) }
    return { expected: form === 'password' ? 'made' : form, isSecret: false }
  }
  return { expected: null, isSecret: false }
}

/** The switches of the last program of the table that is a literal in the text. */
function switchesOf(text: string): Readonly<Record<string, Form>> {
  let last: Readonly<Record<string, Form>> = {}
  let previous = ''
  for (const [, word = ''] of text.matchAll(literal)) {
    const name = word.slice(word.lastIndexOf('/') + 1).replace(/\.exe$/, '')
    last = programs.get(name) ?? programs.get(`${previous} ${name}`) ?? last
    previous = name
  }
  return last
}

const SIGNS = { login: ':', percent: '%', slash: '/' } as const

/** Reports whether the value that a switch expects is or holds a password. */
export function holds(expected: Expected, value: string): boolean {
  if (expected === 'made') return looksMade(value) && isSecretValue(switchRule, value)
  if (expected === 'password') return !value.startsWith('-') && isSecretValue(switchRule, value)
  const at = value.indexOf(SIGNS[expected])
  if (at < 0 || (expected === 'login' && !isLogin(value))) return false
  return isSecretValue(switchRule, value.slice(at + 1))
}

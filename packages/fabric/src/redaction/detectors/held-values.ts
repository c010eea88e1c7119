import type { SecretKind, SecretRule } from './secret-names.ts'
import { looksMade } from './secret-values.ts'

/**
 * Names of which an object below holds secrets, but settings as well: `tokens`, `cookies`, `auth`.
 */
const HOLDERS: ReadonlySet<SecretKind> = new Set<SecretKind>(['token', 'cookie', 'login', 'pass'])

/** As of a password with letters of both cases and a digit; of anything else twice as much. */
export const heldLengthMin = 8
const plainLengthMin = 2 * heldLengthMin

/**
 * `service-account-2`, `app.example.org`, `hsla(210,50%,40%,1)`: words, a host or a file, and a
 * function.
 */
const named =
  /^(?:[A-Za-z]+(?:[-_.:/][A-Za-z]+)*[-_.:/]?v?\d{0,4}|.*\.[a-z][a-z\d]{1,6}|[a-z-]+\(.*)$/

/**
 * Reports whether a value below the name of a token, a cookie or a login is likely to be one, under
 * any name of its own: `{"tokens": {"github": "…"}}`.
 */
export function isHeldBelow({ kind }: SecretRule, value: string): boolean {
  if (!HOLDERS.has(kind) || value.length < heldLengthMin) return false
  if (!/\d/.test(value) || !looksMade(value) || named.test(value)) return false
  const isLong = value.length >= plainLengthMin
  const isMixed = /[a-z]/.test(value) && /[A-Z]/.test(value)
  // `"pass": {…}` counts tests, too.
  if (kind === 'pass') return isLong && isMixed
  return isLong || (kind === 'login' && isMixed)
}

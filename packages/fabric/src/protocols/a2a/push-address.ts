import { bareWord } from '../reading/folded-name.ts'
import { visitForm } from '../reading/request-fields.ts'
import { unescapeAll } from '../reading/unescape-all.ts'

/** By whatever spelling, or as a part of a path of names. */
const namesPush = (name: string): boolean => bareWord(name).includes('pushnotification')

/** Minimum length of a name that registers pushes, in any spelling. */
const nameLengthMin = 8
/** A sign of a document in the value of a parameter. */
const document = /[{=]/

/**
 * The second door to push registration: inline in a message. Only the receiver knows which member
 * of which member it reads, so the address is looked for at every depth. A capability, which is a
 * truth value, names no address. Depth and number of members are bounded by the parser of JSON.
 */
export function registersPush(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return (value as unknown[]).some(registersPush)
  const record = value as Readonly<Record<string, unknown>>
  for (const name in record) {
    const member = record[name]
    const isSaid = member !== null && typeof member !== 'boolean'
    if (isSaid && name.length >= nameLengthMin && namesPush(name)) return true
    if (registersPush(member)) return true
  }
  return false
}

/**
 * As `registersPush`, of a query or a form: by a parameter's name, or in a document that is its
 * value.
 */
export function registersPushInForm(text: string): boolean {
  if (text === '') return false
  let found = false
  let last = ''
  visitForm(text, (value, { whole }) => {
    if (found) return
    // A name may have any number of keys in it, and is judged once.
    const isNew = whole !== last
    last = whole
    found =
      (isNew && namesPush(whole)) ||
      (typeof value === 'string' && document.test(value) && namesPush(unescapeAll(value)))
  })
  return found
}

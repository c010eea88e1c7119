import { type PairRole, pairRole, partnersOf, type RowKey } from '../detectors/pair-roles.ts'
import { mayNameSecret } from '../detectors/secret-name-matcher.ts'
import { plainMembers, type SecretRule, secretRule, stronger } from '../detectors/secret-names.ts'
import type { Span } from '../text/view.ts'

/** A field of a form as it is written, and where it begins. */
export interface FormField {
  readonly name: Span
  readonly value: Span
}

/** The name of a secret in a value is a name, not a text: 256 bytes, each written as `%41`. */
const nameBytesMax = 768

interface Named extends RowKey {
  readonly field: FormField
  readonly rule: SecretRule | null
}

/**
 * The rules for values whose names are the values of other fields, by where they begin:
 * `name=password&value=…` in either order, `items[0][key]=…&items[0][value]=…`.
 */
export function pairedRules(
  body: Uint8Array,
  fields: () => Iterable<FormField>,
  textOf: (span: Span) => string,
): ReadonlyMap<number, SecretRule> {
  const rules = new Map<number, SecretRule>()
  if (!hasNamed(body, fields(), textOf)) return rules
  const frames = new Map<string, Named[]>()
  for (const field of fields()) {
    const role = roleOf(field, textOf)
    if (role === null) continue
    const rule = role.kind === 'naming' ? ruleIn(body, field, textOf) : null
    const row = frames.get(role.frame) ?? []
    row.push({ ...role, key: textOf(field.name), field, rule })
    frames.set(role.frame, row)
  }
  for (const row of frames.values()) addPartners(row, rules)
  return rules
}

function addPartners(row: readonly Named[], rules: Map<number, SecretRule>): void {
  row.forEach(({ rule }, at) => {
    if (rule === null) return
    for (const partner of partnersOf(row, at)) {
      const start = row[partner]?.field.value.start ?? -1
      rules.set(start, stronger(rules.get(start) ?? null, rule))
    }
  })
}

function hasNamed(
  body: Uint8Array,
  fields: Iterable<FormField>,
  textOf: (span: Span) => string,
): boolean {
  for (const field of fields) {
    if (ruleIn(body, field, textOf) !== null && roleOf(field, textOf)?.kind === 'naming')
      return true
  }
  return false
}

function roleOf({ name }: FormField, textOf: (span: Span) => string): PairRole | null {
  if (name.end - name.start > nameBytesMax) return null
  let found: PairRole | null = null
  for (const text of plainMembers(textOf(name))) {
    const role = pairRole(text)
    // The remainder of an escape in a wrong reading looks like the name of a frame.
    if (role !== null && (found === null || role.frame.length < found.frame.length)) found = role
  }
  return found
}

function ruleIn(
  body: Uint8Array,
  { value: { start, end } }: FormField,
  textOf: (span: Span) => string,
): SecretRule | null {
  if (end - start > nameBytesMax || !mayNameSecret(body, start, end)) return null
  return secretRule(textOf({ start, end }))
}

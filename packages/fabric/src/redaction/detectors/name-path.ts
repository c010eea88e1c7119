import { isHeldBelow } from './held-values.ts'
import { everyMarker } from './marker.ts'
import { CARRYING, foldMember, isCounting, isDescribing } from './member-roles.ts'
import { plainMembers, type SecretRule, secretRule, stronger } from './secret-names.ts'

/** A longer path is one name: 256 characters, half of them escaped. */
const pathLengthMax = 512

/**
 * The rule for a value whose name is a path in brackets with the name of a secret on its way:
 * `user[password][github]`. The last member counts as one below that name in an object does, given
 * the value.
 */
export function bracketRule(name: string, value = ''): SecretRule | null {
  return /[[%&\\]/.test(name) ? below(name, /\]*\[|\]+$/, { describes: isDescribing, value }) : null
}

/** The same for points, slashes and colons: `password.github`. */
export function joinedRule(name: string, value: string): SecretRule | null {
  const describes = /^\d+$/.test(value) ? isCounting : isDescribing
  return below(name, /\]*[[./:]|\]+$/, { describes, value })
}

function below(
  name: string,
  joint: RegExp,
  given: { readonly value: string; describes(member: string): boolean },
): SecretRule | null {
  if (name.length > pathLengthMax) return null
  // The brackets of a marker make no path.
  for (const plain of plainMembers(name.replaceAll(everyMarker, 'masked'))) {
    const members = plain.split(joint).filter((member) => member !== '')
    const last = members.pop() ?? ''
    const rule = inherited(members)
    if (rule === null) continue
    const isStrong = rule.kind === 'password' || rule.kind === 'key'
    const describes = given.describes(last)
    if (isStrong ? !describes : CARRYING.has(foldMember(last))) return rule
    if (!describes && isHeldBelow(rule, given.value)) return rule
  }
  return null
}

function inherited(members: readonly string[]): SecretRule | null {
  let found: SecretRule | null = null
  for (const member of members) {
    const rule = secretRule(member)
    if (rule !== null) found = stronger(found, rule)
    else if (isDescribing(member)) found = null
  }
  return found
}

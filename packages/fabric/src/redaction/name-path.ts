import { everyMarker } from './marker.ts'
import { CARRYING, foldMember, isCounting, isDescribing } from './member-roles.ts'
import { plainMembers, type SecretRule, secretRule, stronger } from './secret-names.ts'

/** A longer path is one name: 256 characters, half of them escaped. */
const pathLengthMax = 512

/**
 * The rule for a value whose name is a path in brackets with the name of a secret on its way:
 * `user[password][github]`. The last member counts as one below that name in an object does.
 */
export function bracketRule(name: string): SecretRule | null {
  return /[[%&\\]/.test(name) ? below(name, /\]*\[|\]+$/, isDescribing) : null
}

/** The same for points, slashes and colons: `password.github`. */
export function joinedRule(name: string, isNumber: boolean): SecretRule | null {
  return below(name, /\]*[[./:]|\]+$/, isNumber ? isCounting : isDescribing)
}

function below(
  name: string,
  joint: RegExp,
  describes: (member: string) => boolean,
): SecretRule | null {
  if (name.length > pathLengthMax) return null
  // The brackets of a marker make no path.
  for (const plain of plainMembers(name.replaceAll(everyMarker, 'masked'))) {
    const members = plain.split(joint).filter((member) => member !== '')
    const last = members.pop() ?? ''
    const rule = inherited(members)
    if (rule === null) continue
    const isStrong = rule.kind === 'password' || rule.kind === 'key'
    if (isStrong ? !describes(last) : CARRYING.has(foldMember(last))) return rule
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

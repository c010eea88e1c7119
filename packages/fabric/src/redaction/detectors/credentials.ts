import { COMMAND_LINE_RULE } from './command-line.ts'
import { PREFIX_RULES } from './credential-prefixes.ts'
import type { CredentialRule } from './credential-rule.ts'
import { SHAPE_RULES } from './credential-shapes.ts'

/** Every credential format that is looked for. */
export const CREDENTIAL_RULES: readonly CredentialRule[] = [
  ...PREFIX_RULES,
  ...SHAPE_RULES,
  COMMAND_LINE_RULE,
]

import { isExpression } from './code.ts'
import { isStatement, looksMade } from './secret-values.ts'
import { withoutSeparators } from './trailing.ts'

const typeWord =
  '(?:string|str|text|varchar(?:\\(\\d+\\))?|secretstr|bytes|buffer|keyobject|uint8array|unknown|any)'
const typeName = new RegExp(
  `^(?:(?:Optional|Union|List|Annotated|Maybe|Option)\\[${typeWord}(?:, ?(?:${typeWord}|None))*\\]|(?:Option|Optional|Maybe|Nullable|Promise|Array|List|Vec|Secret|Box|Arc)<&?${typeWord}>|${typeWord}(?:\\s*\\|\\s*(?:${typeWord}|null|undefined|None))*)(?:\\s*=\\s*(?:None|null|undefined|""|''))?$`,
  'i',
)
const nothing = /^(?:none|null|nil|undefined|true|false)?$/i

/** Whether text after an operator is code or prose about the secret, and all of it is. */
export function isCode(given: string): boolean {
  const text = withoutSeparators(given)
  const comment = /(?:^|\s)(?:\/\/|\/\*|#)\s/.exec(text)
  if (comment === null) return isPlainCode(text)
  const about = text.slice(comment.index)
  if (about.split(/\s+/).some((word) => looksMade(word))) return false
  const before = text.slice(0, comment.index).trim()
  return nothing.test(before) || isPlainCode(withoutSeparators(before))
}

function isPlainCode(text: string): boolean {
  if (isStatement(text) || typeName.test(text)) return true
  // What closes the brackets around an expression is no part of it.
  const shorter = text.replace(/[;,:)\]}]{1,8}$/, '')
  return isExpression(text) || (shorter !== text && isExpression(shorter))
}

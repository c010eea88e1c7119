import { withoutSeparators } from '../text/trailing.ts'
import { isTypeAnnotation } from '../text/type-annotation.ts'
import { isExpression } from './code.ts'
import { isStatement, looksMade } from './secret-values.ts'

const nothing =
  /^(?:(?:none|null|nil|undefined|true|false|void 0)(?:\s*,\s*(?:none|null|nil|undefined))*)?$/i

/** Reports whether text after an operator is code or prose about the secret, as a whole. */
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
  if (isStatement(text) || isTypeAnnotation(text) || nothing.test(text)) return true
  // Brackets that close around an expression are not part of it.
  const shorter = text.replace(/^[:\s]+/, '').replace(/[;,:)\]}]{1,8}$/, '')
  if (nothing.test(shorter)) return true
  return isExpression(text) || (shorter !== text && isExpression(shorter))
}

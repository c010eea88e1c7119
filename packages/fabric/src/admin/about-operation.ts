import { isOperation, OPERATIONS } from './operations.ts'

/** Longer ones are refused; what is recorded of them ends here. */
const reasonLengthMax = 500

/**
 * The object and the reason of an operation, as facts of its record from the intent on: also of one
 * that is refused, or whose end stays unknown. `args` may be anything. An object is recorded only
 * in the form that its schema gives it: other words could imitate one, or be a secret in the wrong
 * place.
 */
export function aboutOperation(operation: string, args: unknown): Readonly<Record<string, string>> {
  if (!isOperation(operation) || typeof args !== 'object' || args === null) return {}
  const { args: schema, object: members } = OPERATIONS[operation]
  const given: Readonly<Record<string, unknown>> = { ...args }
  const shape: Readonly<Record<string, Shape | undefined>> = schema.shape
  const names = members.map((member) => {
    const parsed = shape[member]?.safeParse(given[member])
    return parsed?.success === true ? String(parsed.data) : null
  })
  const isNamed = names.length > 0 && names.every((each) => each !== null)
  const { reason } = given
  const isReasoned = shape['reason'] !== undefined && typeof reason === 'string' && reason !== ''
  return {
    ...(isNamed ? { object: names.join(' ') } : {}),
    ...(isReasoned ? { reason: reason.slice(0, reasonLengthMax).toWellFormed() } : {}),
  }
}

interface Shape {
  safeParse(value: unknown): { readonly success: boolean; readonly data?: unknown }
}

import { asList, type CedarExpression } from './cedar-json.ts'

/** Something in a valid policy that cannot mean what its author wrote it for. */
export interface Lint {
  readonly message: string
  readonly help: string
}

/** The expressions directly inside an operator, in order. */
export function partsOf(body: unknown): readonly CedarExpression[] {
  const inside = Array.isArray(body)
    ? asList(body)
    : typeof body === 'object' && body !== null && !('__entity' in body)
      ? Object.values(body)
      : []
  return inside.filter(
    (part): part is CedarExpression =>
      typeof part === 'object' && part !== null && !Array.isArray(part) && isOperator(part),
  )
}

function isOperator(part: object): boolean {
  return Object.keys(part).length === 1 && !('Literal' in part)
}

/** One policy could not be evaluated for one request. States why, for the operator. */
export class EvaluationError extends Error {}

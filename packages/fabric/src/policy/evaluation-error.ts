/** One policy could not be evaluated for one request. Says why, for the operator. */
export class EvaluationError extends Error {}

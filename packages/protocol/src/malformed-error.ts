/** The input is not in the one accepted form. The message is for operators; no peer hears it. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

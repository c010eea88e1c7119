/**
 * The input is not in the one accepted form. The message is for operators; peers never receive it.
 */
export class MalformedError extends Error {
  override readonly name: string = 'MalformedError'
}

/** Well formed for an earlier version of the protocol; the message has what to do. */
export class FormerFormatError extends MalformedError {
  override readonly name = 'FormerFormatError'
}

/**
 * The input is larger, or nests deeper, than its limit; whether it is well formed was not asked.
 */
export class OverLimitError extends MalformedError {
  override readonly name = 'OverLimitError'
  /** The bound of `parseStrictJson` that was exceeded; null for depth and length. */
  readonly bound: 'names' | 'values' | 'digits' | null

  constructor(message: string, bound: OverLimitError['bound'] = null) {
    super(message)
    this.bound = bound
  }
}

import type { CedarPolicy } from './cedar-json.ts'

/** Something wrong inside one policy. Offsets are UTF-16 code units into that policy's text. */
export interface ParserFault {
  readonly start: number
  readonly message: string
  /** Advice for the author; empty when the parser has none. */
  readonly help: string
}

export interface ParsedPolicy {
  /** Null exactly when `faults` holds a parse error. */
  readonly policy: CedarPolicy | null
  /** Parse and validation errors; a policy with any of them never takes force. */
  readonly faults: readonly ParserFault[]
  /** Legal, but hardly meant: for example a policy that can never match. */
  readonly warnings: readonly ParserFault[]
}

/**
 * Reads Cedar text. It runs when policies change, never while a request waits.
 *
 * `texts` holds one policy each; the answer has one element for each, in the same order. Every
 * policy that parses is validated strictly against `schema` (Cedar's schema syntax). Rejects when
 * it could not do its work, which leaves the policies in force as they are.
 */
export interface PolicyParser {
  parse(schema: string, texts: readonly string[]): Promise<readonly ParsedPolicy[]>
}

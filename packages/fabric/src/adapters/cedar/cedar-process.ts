import type { ParsedPolicy } from '../../policy/parser.ts'
import { parseInWasm } from './parse-in-wasm.ts'

/** The one message that the parent sends. */
export interface CedarOrder {
  readonly schema: string
  readonly texts: readonly string[]
}

/** The one message that the parent receives. */
export type CedarAnswer =
  | { readonly parsed: readonly ParsedPolicy[] }
  | { readonly failure: string }

async function answer({ schema, texts }: CedarOrder): Promise<CedarAnswer> {
  try {
    const cedar = await import('@cedar-policy/cedar-wasm/nodejs')
    return { parsed: parseInWasm(cedar, schema, texts) }
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) }
  }
}

process.once('message', (order: CedarOrder) => {
  void answer(order).then((given) => process.send?.(given))
})

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Case, Kind } from './oracle.ts'

interface Row {
  readonly kind: Kind
  readonly type: string
  /** Base64, since most of them are not text. */
  readonly body: string
  /** Our reading of it; null where we refuse it. */
  readonly ours: string | null
}

export type CorpusCase = Case & { readonly body: Buffer; readonly ours: string | null }

/** Inputs on which readers were once found to differ, or that are the smallest of their class. */
export function readCorpus(): readonly CorpusCase[] {
  const rows = JSON.parse(readFileSync(join(import.meta.dirname, 'corpus.json'), 'utf8')) as Row[]
  return rows.map((row) => ({ ...row, body: Buffer.from(row.body, 'base64') }))
}

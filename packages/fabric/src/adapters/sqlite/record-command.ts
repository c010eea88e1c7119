import type { BoundsOfRecords, RecordCollection, RecordPut } from '../../state/record-store.ts'

export interface PutCommand extends RecordPut {
  readonly kind: 'put'
  readonly collection: RecordCollection
  readonly key: string
  readonly value: string
  readonly now: number
}

export interface RemoveCommand {
  readonly kind: 'remove'
  readonly collection: RecordCollection
  readonly key: string
  readonly expected?: string
  readonly now: number
}

export type Command =
  | PutCommand
  | RemoveCommand
  | { readonly kind: 'sweep'; readonly now: number }
  | { readonly kind: 'close' }

/** True or false of a put or removal, the number of deleted records of a sweep. */
export type Answer = boolean | number

/** Worker to main thread, once for each transaction, after its end. */
export type Reply =
  | { readonly answers: readonly Answer[] }
  /** The transaction was rolled back; `count` commands are answered by its error. */
  | { readonly count: number; readonly fault: { readonly message: string; readonly code: number } }
  | { readonly fatal: string; readonly code: number }

export interface RecordWorkerSettings {
  readonly path: string
  readonly bounds: BoundsOfRecords
}

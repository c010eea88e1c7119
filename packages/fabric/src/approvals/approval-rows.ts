import { findEachMax, type RecordStore } from '../state/record-store.ts'
import { type ApprovalQuestion, questionKey } from './approval-question.ts'
import {
  APPROVED_MS,
  type ApprovalRecord,
  decodeApproval,
  encodeApproval,
  principalText,
} from './approval-record.ts'

const collection = 'approval'
/** Requests that are known here; the oldest beyond them are found by their ids alone. */
const knownMax = 4_096
const pageMax = 1_000

/**
 * The rows of approvals: a record by its id, and the id of the newest record by its question. Every
 * process of a fabric sees the same rows. The store may lose the oldest rows of a caller at a
 * receiver with too many of them: what is lost permits nothing, and is asked for again.
 */
export class ApprovalRows {
  readonly #records: RecordStore
  /** The ids of records that were added, the oldest first. */
  readonly #known = new Set<string>()
  #sequence = 0

  constructor(records: RecordStore) {
    this.#records = records
  }

  async find(id: string): Promise<ApprovalRecord | null> {
    const row = await this.#records.find(collection, keyOfId(id))
    return row === null ? null : decodeApproval(row.value)
  }

  /** The id of the newest record of a question. */
  async findId(question: ApprovalQuestion): Promise<string | null> {
    return (await this.#records.find(collection, keyOfQuestion(question)))?.value ?? null
  }

  /**
   * Adds a record that takes the place of `former` for its question. False if another one did
   * so first; the record then answers no question, and permits nothing until it ends.
   */
  async add(record: ApprovalRecord, former: string | null, now: number): Promise<boolean> {
    const owner = ownerOf(record)
    const lifetimeMs = record.expiresAt - now
    const key = keyOfId(record.id)
    const row = { owner, lifetimeMs, expected: null }
    if (!(await this.#records.put(collection, key, encodeApproval(record), row))) return false
    // A decision at the end of a request makes its record last longer.
    const reference = { owner, lifetimeMs: lifetimeMs + APPROVED_MS, expected: former }
    return this.#records.put(collection, keyOfQuestion(record), record.id, reference)
  }

  /** Replaces a record that is still the same; false if it is not. */
  replace(record: ApprovalRecord, next: ApprovalRecord, now: number): Promise<boolean> {
    return this.#records.put(collection, keyOfId(record.id), encodeApproval(next), {
      owner: ownerOf(record),
      // A decision on a request that has ended by then is in effect for a moment.
      lifetimeMs: Math.max(1, next.expiresAt - now),
      expected: encodeApproval(record),
      // A use that a loss of power undid could be made again.
      durable: true,
    })
  }

  /** The records that exist, the oldest first; of very many, the newest. */
  async list(): Promise<readonly ApprovalRecord[]> {
    await this.#follow()
    const found: ApprovalRecord[] = []
    const ids = [...this.#known]
    for (let at = 0; at < ids.length; at += findEachMax) {
      const part = ids.slice(at, at + findEachMax)
      const rows = await this.#records.findEach(collection, part.map(keyOfId))
      for (const id of part) {
        const row = rows.get(keyOfId(id))
        if (row === undefined) this.#known.delete(id)
        else found.push(decodeApproval(row.value))
      }
    }
    return found
  }

  /** Each row is read here once, when it is new. */
  async #follow(): Promise<void> {
    for (;;) {
      const added = await this.#records.added(collection, this.#sequence, pageMax)
      for (const { key, sequence } of added) {
        this.#sequence = sequence
        if (key.startsWith(idPrefix)) this.#known.add(key.slice(idPrefix.length))
      }
      for (const id of this.#known) {
        if (this.#known.size <= knownMax) break
        this.#known.delete(id)
      }
      if (added.length < pageMax) return
    }
  }
}

const idPrefix = 'id\n'
const keyOfId = (id: string): string => `${idPrefix}${id}`
const keyOfQuestion = (question: ApprovalQuestion): string => `question\n${questionKey(question)}`

/** A connector asks in the name of callers, and must not push out what they ask of others. */
const ownerOf = ({ caller, receiver }: ApprovalRecord): string =>
  `${principalText(caller)}\n${principalText(receiver)}`

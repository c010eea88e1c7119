import { parseStrictJson, parseUtf8, utf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { visitExactNumbers } from './exact-numbers.ts'
import { idLengthMax } from './known-ids.ts'
import { createdIn, filterListed } from './task-references.ts'

type Maybe<T> = T | Refusal | Promise<T | Refusal>

/**
 * Reads answers that speak of tasks, on the account of their receiver. They are as large as their
 * receiver likes, so they are read in a thread where they are not small.
 */
export interface TaskReader {
  /** The tasks and conversations that the answer says it created. */
  createdIn(body: Uint8Array, receiver: string): Maybe<readonly string[]>
  /** The tasks that the answer lists. */
  listedIn(body: Uint8Array, receiver: string): Maybe<readonly string[]>
  /** The answer with the tasks in `owned` only; a refusal where it could not be read as a list. */
  filtered(body: Uint8Array, owned: readonly string[], receiver: string): Maybe<Uint8Array>
}

export type TaskQuestion = keyof TaskReader

/** The readers themselves, on whatever thread. */
export const taskReaders = {
  createdIn: (body) => createdIn(exact(body)),
  listedIn(body) {
    const listed: string[] = []
    filterListed(exact(body), (id) => listed.push(id) > 0)
    return listed
  },
  filtered(body, owned) {
    const value = parsed(body)
    const own = new Set(owned)
    const filtered = filterListed(value, (id) => own.has(id))
    if (typeof filtered === 'object') return utf8(JSON.stringify(filtered))
    // An error lists nothing; anything else might list tasks in a form that is not read here.
    if (filtered === 'none' && isError(value)) return body
    return new Refusal('RESPONSE_REJECTED', 'a list of tasks that could not be read')
  },
} satisfies Record<TaskQuestion, (body: Uint8Array, owned: readonly string[]) => unknown>

/** Numbers that a double may round, as the digits that are written: they may be ids. */
function exact(data: Uint8Array): unknown {
  const value = parsed(data)
  if (!holdsRounded(value)) return value
  return JSON.parse(parseUtf8(data), (_, each: unknown, context?: { readonly source?: string }) => {
    if (!isRounded(each)) return each
    let digits = ''
    visitExactNumbers(context?.source ?? '', idLengthMax, (found) => {
      digits = found
    })
    return digits === '' ? each : digits
  })
}

function isRounded(value: unknown): boolean {
  return typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER
}

function holdsRounded(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return isRounded(value)
  return Object.values(value).some(holdsRounded)
}

function parsed(data: Uint8Array): unknown {
  try {
    return parseStrictJson(parseUtf8(data))
  } catch {
    // Of what is not JSON nothing is learnt, and nothing of it passes where a list is expected.
    return null
  }
}

function isError(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return 'error' in value || ('method' in value && !('result' in value))
}

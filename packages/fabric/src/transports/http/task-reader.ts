import { parseStrictJson, parseUtf8, utf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { withExactNumbers } from './exact-numbers.ts'
import { freeWork, STEPS, type Work } from './reading-steps.ts'
import { filterTasks } from './task-list.ts'
import { createdIn } from './task-references.ts'

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

/** In Latin-1: an escape in JSON, and what `foldedName` takes for ASCII letters. */
const escapes = /\\u|\xc5\xbf|\xe2\x84\xaa|\xef[\xbc\xbd]/
/** A2A states a task's status as an object; MCP's tasks call their id `taskId`. */
const mentionsTask = /(?:task|context)_?id|"status"\s*:\s*\{|"kind"\s*:\s*"/i

/** Whether an answer can speak of a task, which few do: only these are parsed. One pass over the bytes. */
export function mayCreate({ buffer, byteOffset, length }: Uint8Array): boolean {
  const text = Buffer.from(buffer, byteOffset, length).toString('latin1')
  return mentionsTask.test(text) || escapes.test(text)
}

type ReadTasks = (body: Uint8Array, owned: readonly string[], work?: Work) => unknown

/** The readers themselves, on whatever thread. */
export const taskReaders = {
  createdIn(body, _owned = [], work = freeWork) {
    work.spend(body.length * STEPS.readByte)
    const read = mayCreate(body) ? parsed(body) : null
    return read === null ? [] : createdIn(withExactNumbers(read.value, read.text))
  },
  listedIn(body, _owned = [], work = freeWork) {
    work.spend(2 * body.length * STEPS.readByte)
    const listed: string[] = []
    const read = parsed(body)
    if (read !== null) filterTasks(read.text, (id) => listed.push(id) > 0)
    return listed
  },
  filtered(body, owned, work = freeWork) {
    work.spend(2 * body.length * STEPS.readByte)
    const read = parsed(body)
    const own = new Set(owned)
    const filtered = read === null ? 'none' : filterTasks(read.text, (id) => own.has(id))
    if (typeof filtered === 'object') return utf8(filtered.text)
    // An error lists nothing; anything else might list tasks in a form that is not read here.
    if (filtered === 'none' && isError(read?.value)) return body
    return new Refusal('RESPONSE_REJECTED', 'a list of tasks that could not be read')
  },
} satisfies Record<TaskQuestion, ReadTasks>

interface Parsed {
  readonly text: string
  readonly value: unknown
}

function parsed(data: Uint8Array): Parsed | null {
  try {
    const text = parseUtf8(data)
    return { text, value: parseStrictJson(text) }
  } catch {
    // Of what is not JSON nothing is learnt, and nothing of it passes where a list is expected.
    return null
  }
}

function isError(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return 'error' in value || ('method' in value && !('result' in value))
}

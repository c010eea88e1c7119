import { parseStrictJson, parseUtf8, utf8 } from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { type Maybe, Refusal } from '../../lib/refusal.ts'
import type { TimeAccount } from '../../pipeline/large-bodies.ts'
import { withExactNumbers } from '../reading/exact-numbers.ts'
import { foldedName } from '../reading/folded-name.ts'
import { idLengthMax } from '../reading/known-ids.ts'
import { freeWork, STEPS, type Work } from '../reading/reading-steps.ts'
import { isRecord } from '../reading/rpc-message.ts'
import { idKey } from './owned-ids.ts'
import { type FilteredTasks, filterTasks } from './task-list.ts'
import { createdIn } from './task-references.ts'

/**
 * Reads answers that mention tasks, on the account of their receiver. The receiver chooses their
 * size, so large ones are read in a thread.
 */
export interface TaskReader {
  /** Returns the tasks and conversations that the answer reports as created, which are few. */
  createdIn(body: Uint8Array, account: TimeAccount): Maybe<readonly string[]>
  /**
   * The tasks that the answer lists, and others that it names, these with `LAX` before them. Each
   * once, folded as `idKey` has it, and no more than `tasks.listed`.
   */
  listedIn(body: Uint8Array, account: TimeAccount): Maybe<readonly string[]>
  /** The answer with what is in `owned` only; a refusal where it could not be read as a list. */
  filtered(body: Uint8Array, owned: readonly string[], account: TimeAccount): Maybe<Uint8Array>
  /** The same of an answer with the status of an error, which may be of any form. */
  filteredError(body: Uint8Array, owned: readonly string[], account: TimeAccount): Maybe<Uint8Array>
}

/** Each is looked for on the event loop. As many as one caller can own. */
const listedLimit = { name: 'tasks.listed', value: 10_000, unit: 'count' } as const

/**
 * Before an id that may be the application's own: what names it goes if it is known to be
 * another's.
 */
export const LAX = '~'

export type TaskQuestion = keyof TaskReader

/** In Latin-1: an escape in JSON, and what `foldedName` takes for ASCII letters. */
const escapes = /\\u|\xc5\xbf|\xe2\x84\xaa|\xef[\xbc\xbd]/
/** A2A states a task's status as an object; MCP's tasks call their id `taskId`. */
const mentionsTask = /(?:task|context)_?id|"status"\s*:\s*\{|"kind"\s*:\s*"/i

/**
 * Reports whether an answer can mention a task, which few do: only these are parsed. One pass over
 * the bytes.
 */
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
    const listed = new Set<string>()
    const read = parsed(body)
    if (read !== null) {
      filterTasks(read.text, (id, isLax) => {
        if (listed.size <= listedLimit.value) listed.add(keyed(id, isLax))
        return true
      })
    }
    if (listed.size > listedLimit.value) return overLimit('RESPONSE_REJECTED', listedLimit)
    return [...new Set(Array.from(listed, (id) => foldedKey(id, work)))]
  },
  filtered(body, owned, work = freeWork) {
    const read = filteredBy(body, owned, work)
    // Without a list, and not an error: it might list tasks in a form that is not read here.
    if (read === null || read.isUnread) return unreadList()
    return read.lists > 0 || isError(read.value) ? bytesOf(body, read) : unreadList()
  },
  filteredError(body, owned, work = freeWork) {
    const read = filteredBy(body, owned, work)
    if (read === null) return body
    return read.isUnread ? unreadList() : bytesOf(body, read)
  },
} satisfies Record<TaskQuestion, ReadTasks>

const keyed = (id: string, isLax: boolean): string => (isLax ? `${LAX}${id}` : id)

function foldedKey(id: string, work: Work): string {
  work.spend(Math.min(id.length, idLengthMax) * STEPS.foldedCharacter)
  return id.startsWith(LAX) ? `${LAX}${idKey(id.slice(LAX.length))}` : idKey(id)
}

function unreadList(): Refusal {
  return new Refusal('RESPONSE_REJECTED', 'a list of tasks that could not be read')
}

type Filtered = FilteredTasks & { readonly value: unknown; readonly isWhole: boolean }

function filteredBy(body: Uint8Array, owned: readonly string[], work: Work): Filtered | null {
  work.spend(2 * body.length * STEPS.readByte)
  const read = parsed(body)
  if (read === null) return null
  const own = new Set(owned)
  /** Each is folded once, however often it occurs. */
  const found = new Map<string, boolean>()
  const filtered = filterTasks(read.text, (id, isLax) => {
    const as = keyed(id, isLax)
    const known = found.get(as)
    if (known !== undefined) return known
    const isOwn = own.has(foldedKey(as, work))
    found.set(as, isOwn)
    return isOwn
  })
  return { ...filtered, value: read.value, isWhole: filtered.text === read.text }
}

function bytesOf(body: Uint8Array, { text, isWhole }: Filtered): Uint8Array {
  return isWhole ? body : utf8(text)
}

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

/**
 * An error of JSON-RPC, or a message of its own; with a result next to it, it may be taken for
 * that.
 */
function isError(value: unknown): boolean {
  if (!isRecord(value)) return false
  const members = Object.entries(value).map(([name, each]) => [foldedName(name), each] as const)
  if (members.some(([name, each]) => name === 'result' && each !== null)) return false
  return isRecord(value['error']) || typeof value['method'] === 'string'
}

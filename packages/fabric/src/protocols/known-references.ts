import { overLimit } from '../lib/limits.ts'
import type { Refusal } from '../lib/refusal.ts'
import { idKey } from './a2a/owned-ids.ts'
import { visitExactNumbers } from './reading/exact-numbers.ts'
import type { Head } from './reading/head.ts'
import {
  type IdFilter,
  idLengthMax,
  knownLengthMin,
  mayBeKnown,
  usedFilters,
  visitKnown,
  visitTexts,
} from './reading/known-ids.ts'
import { freeWork, STEPS, type Work } from './reading/reading-steps.ts'
import { visitHead, visitText } from './reading/request-fields.ts'
import { unescapeAll } from './reading/unescape-all.ts'

const knownLimit = { name: 'tasks.known', value: 4_096, unit: 'count' } as const

const decoder = new TextDecoder()

/** A sign of JSON, of a form or of XML, without which a string holds none of them. */
const document = /[{=<]/

interface KnownOptions {
  readonly bytes: Uint8Array
  readonly given: readonly IdFilter[]
  readonly work?: Work
}

/**
 * Returns every possible id of a task, a conversation or a session in a request, as
 * `TaskReferences.known`: long ones anywhere, since no other text equals them, and short ones after
 * a name in a document inside a string. `body` is parsed JSON, or text, of `bytes`. Each is
 * normalized, so that the event loop only has to look it up.
 */
export function knownIn(
  head: Pick<Head, 'path' | 'headers'>,
  body: unknown,
  { bytes, given, work = freeWork }: KnownOptions,
): readonly string[] | Refusal {
  const filters = usedFilters(given)
  if (filters.length === 0) return []
  const found = new Set<string>()
  const visit = (id: string): void => {
    if (found.size <= knownLimit.value) found.add(id)
  }
  // On the sender's account as the body is: a head of escapes has as many readings.
  visitKnown(head.path, filters, visit, work)
  visitHead(head.headers, (value) => {
    if (typeof value === 'string') visitKnown(value, filters, visit, work)
  })
  let isRounded = false
  const visitOne = (text: string): void => {
    visitKnown(text, filters, visit, work)
    if (!document.test(text)) return
    work.spend(text.length * STEPS.layerByte)
    visitText(unescapeAll(text), (value) => {
      if (typeof value === 'string' && mayBeKnown(filters, value)) visit(value)
    })
  }
  visitTexts(body, visitOne, () => {
    isRounded = true
  })
  if (isRounded) {
    visitExactNumbers(decoder.decode(bytes), idLengthMax, (digits) => {
      if (digits.length >= knownLengthMin) visitKnown(digits, filters, visit, work)
    })
  }
  if (found.size > knownLimit.value) return overLimit('MESSAGE_MALFORMED', knownLimit)
  const keys = new Set<string>()
  for (const id of found) {
    work.spend(id.length * STEPS.foldedCharacter)
    keys.add(idKey(id))
  }
  return [...keys]
}

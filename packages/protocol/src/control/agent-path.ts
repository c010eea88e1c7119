import { readPathSegments } from '../encoding/path-segments.ts'

/** Paths at which agents publish their card (A2A 1.0, section 8.2; before 0.3 the second one). */
const cardPaths: readonly string[] = ['/.well-known/agent-card.json', '/.well-known/agent.json']

/** Some servers take a format for the end of a path. */
const format = '(?:\\.[a-z0-9.]*)?'
const at = (form: string): RegExp => new RegExp(`/${form}${format}$`)
/** A receiver may read on behind these; what then follows is part of the operation. */
const from = (form: string): RegExp => new RegExp(`/${form}${format}(?:/|$)`)

/** A card by any name that some receiver gives it, also with more of a path behind it. */
const cardForm = /\/\.well-known\/(?:agent-card(?:\.[a-z0-9.]*)?|agent\.[a-z0-9.]+)(?:\/|$)/

/** Operations of A2A's HTTP+JSON binding (1.0, section 11; 0.3 under /v1), after any prefix. */
const restForms: readonly (readonly [RegExp, operation: string])[] = [
  [from('message:send'), 'SendMessage'],
  [from('message:stream'), 'SendStreamingMessage'],
  [from('tasks/[^/]+:cancel'), 'CancelTask'],
  [from('tasks/[^/]+:subscribe'), 'SubscribeToTask'],
  [at('(?:extendedagentcard|v1/card)'), 'GetExtendedAgentCard'],
]
/** Connect and gRPC-JSON take the calls of a service at paths of their own, in JSON and by POST. */
const serviceForm = at('[a-z0-9.]*(?:a2a|agent)service/[a-z]+')
/** Other applications have tasks as well. */
const restReads: readonly (readonly [RegExp, operation: string])[] = [
  [/\/tasks\/[^/]+$/, 'GetTask'],
  [at('tasks'), 'ListTasks'],
]

export function isExactCardPath(path: string): boolean {
  return cardPaths.some((card) => path.endsWith(card))
}

/** Reports whether some receiver takes `path` for that of an agent card, at whatever depth. */
export function isCardPath(path: string): boolean {
  // Ordinary paths hold none of these in any spelling.
  if (!/ag|%|[^\x20-\x7e]/i.test(path)) return false
  const seen = laxPath(path)
  return cardPaths.some((card) => seen.endsWith(card)) || cardForm.test(seen)
}

/** Reports whether `path` is that of a method of A2A's gRPC service, which is not carried. */
export function isServicePath(path: string): boolean {
  return /service|%|[^\x20-\x7e]/i.test(path) && serviceForm.test(laxPath(path))
}

/** Some servers take any ending for a format of what they list; pages have scripts of any name. */
const fileOfPage =
  /(?:^|\/)tasks(?:\.[a-z0-9-]+)*\.(?:[cm]?js|css|html?|map|png|jpe?g|gif|svg|ico|webp|woff2?|ttf)$/

/**
 * Reports whether `path` ends in a file of a page, such as `/static/tasks.js`, and not in the list
 * of tasks.
 */
export function isFileOfPage(path: string): boolean {
  return fileOfPage.test(path)
}

/** To a receiver that decodes first, such a path would end at what it encodes. */
export function encodesQuery(path: string): boolean {
  return /%(?:3f|23)/i.test(path)
}

export interface RestOperation {
  readonly operation: string
  /** True if other applications are unlikely to have such a path. */
  readonly isCertain: boolean
}

/** Every form above has `message:`, `tasks` or `card` in it, in some spelling. */
const mayBeRest = /message:|tasks|card|%|[^\x20-\x7e]/i

/** The operation of A2A that some receiver takes `path` for; null for none. */
export function restOperation(method: string, path: string): RestOperation | null {
  if (!mayBeRest.test(path)) return null
  const seen = laxPath(path)
  const found = restForms.find(([form]) => form.test(seen))
  if (found !== undefined) return { operation: found[1], isCertain: true }
  if ((method !== 'GET' && method !== 'HEAD') || isFileOfPage(seen)) return null
  const read = restReads.find(([form]) => form.test(seen))
  return read === undefined ? null : { operation: read[1], isCertain: false }
}

function laxPath(path: string): string {
  return `/${readPathSegments(path)
    .map(({ word }) => word)
    .join('/')}`
}

import {
  type AdminArgs,
  type AdminOperation,
  type AdminResult,
  EventBlocks,
  type FollowedEntry,
  parseAdminAnswer,
  parseFollowedEntry,
  parseUtf8,
  visitEventFields,
  WATCH_OPERATION,
} from '@countersign/protocol'

/** The fabric refused the key. */
export class NotAdmitted extends Error {}

/** The fabric has another log than the one that the cursor is of. */
export class CursorLost extends Error {}

/**
 * Sends one administrative operation, as the CLI does. Throws NotAdmitted on a refused key, and a
 * MalformedError on an answer that breaks the contract.
 */
export async function ask<Name extends AdminOperation>(
  key: string,
  operation: Name,
  args: AdminArgs<Name>,
): Promise<AdminResult<Name>> {
  const response = await send(key, operation, args)
  return parseAdminAnswer(operation, await response.json())
}

/** Calls `take` with every entry after the cursor `after`; resolves when the stream ends. */
export async function watch(
  key: string,
  after: string,
  take: (entry: FollowedEntry) => void,
): Promise<void> {
  const response = await send(key, WATCH_OPERATION, { after })
  if (response.body === null) return
  const blocks = new EventBlocks({ bytesMax: eventBytesMax, tooLarge })
  for await (const chunk of response.body) {
    blocks.feed(chunk)
    for (let block = blocks.next(); block !== null; block = blocks.next()) {
      const data = dataOf(block)
      if (data !== '') take(parseFollowedEntry(JSON.parse(data)))
    }
  }
}

function dataOf(block: Uint8Array): string {
  const data: string[] = []
  visitEventFields(parseUtf8(block), (field, value) => {
    // A cut is named in the frame itself; its content is not an entry.
    if (field === 'event') throw new NotAdmitted('the stream was cut')
    if (field === 'data') data.push(value)
  })
  return data.join('\n')
}

/** An entry has some kilobytes. */
const eventBytesMax = 1024 * 1024

function tooLarge(what: string): Error {
  return new Error(`an event of too many ${what}`)
}

async function send(key: string, operation: string, args: object): Promise<Response> {
  const response = await fetch('/v1/admin', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': key },
    body: JSON.stringify({ operation, args }),
    cache: 'no-store',
  })
  if (response.status === 401 || response.status === 403) throw new NotAdmitted(operation)
  if (response.status === 400 && 'after' in args) throw new CursorLost(operation)
  if (!response.ok) throw new Error(`${operation}: ${response.status}`)
  return response
}

import { EventBlocks, parseUtf8, visitEventFields } from '@countersign/protocol'

/** The fabric refused the key. */
export class NotAdmitted extends Error {}

/** One administrative operation, as the CLI sends it. Throws NotAdmitted on a refused key. */
export async function ask(key: string, operation: string, args: object): Promise<unknown> {
  const response = await send(key, operation, args)
  const { result } = (await response.json()) as { readonly result: unknown }
  return result
}

/** Calls `take` with every entry as it is recorded; resolves when the stream ends. */
export async function watch(key: string, take: (entry: unknown) => void): Promise<void> {
  const response = await send(key, 'decisions.watch', {})
  if (response.body === null) return
  const blocks = new EventBlocks({ bytesMax: eventBytesMax, tooLarge })
  for await (const chunk of response.body) {
    blocks.feed(chunk)
    for (let block = blocks.next(); block !== null; block = blocks.next()) {
      const data = dataOf(block)
      if (data !== '') take(JSON.parse(data))
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
  if (!response.ok) throw new Error(`${operation}: ${response.status}`)
  return response
}

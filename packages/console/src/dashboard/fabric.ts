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
  let pending = ''
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    pending += chunk
    const events = pending.split('\n\n')
    pending = events.pop() ?? ''
    for (const event of events) {
      // A cut is named in the frame itself; its content is not an entry.
      if (event.startsWith('event:')) throw new NotAdmitted('the stream was cut')
      const data = event
        .split('\n')
        .filter((line) => line.startsWith('data: '))
        .map((line) => line.slice('data: '.length))
        .join('\n')
      if (data !== '') take(JSON.parse(data))
    }
  }
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

import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

/** More than any message of the demo, and little enough to hold in memory. */
const bodyBytesMax = 256 * 1024

/** A listener for `node:http` made of a function of `Request` and `Response`. */
export function webListener(answer: (request: Request) => Promise<Response>): RequestListener {
  return (received, outgoing) => {
    toRequest(received)
      .then(answer)
      .then((response) => write(response, outgoing))
      .catch(() => outgoing.destroy())
  }
}

async function toRequest(received: IncomingMessage): Promise<Request> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of received as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > bodyBytesMax) throw new RangeError(`more than ${bodyBytesMax} bytes`)
    chunks.push(chunk)
  }
  const { method = 'GET', rawHeaders } = received
  const headers = new Headers()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '')
  }
  const url = new URL(received.url ?? '/', `http://${received.headers.host ?? 'localhost'}`)
  return new Request(url, { method, headers, body: length === 0 ? null : Buffer.concat(chunks) })
}

async function write(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  outgoing.flushHeaders()
  for await (const chunk of response.body ?? []) {
    if (outgoing.destroyed) return
    if (!outgoing.write(chunk)) await once(outgoing, 'drain')
  }
  outgoing.end()
}

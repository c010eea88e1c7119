import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request as it reached the receiver. */
export interface Reached {
  readonly method: string
  readonly url: string
  /** Name, value, name, value …, as they came over the wire. */
  readonly rawHeaders: readonly string[]
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export type Answering = (reached: Reached, response: ServerResponse) => void

/** A receiver that keeps whatever reaches it, so that a test can show that nothing did. */
export interface Echo {
  readonly url: string
  readonly reached: readonly Reached[]
  /** Answers with `answering` instead of an echo for as long as `scene` runs. */
  during<T>(answering: Answering, scene: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

export async function openEcho(): Promise<Echo> {
  const reached: Reached[] = []
  let answer: Answering = echo
  const server = createServer((request, response) => {
    read(request)
      .then((body) => {
        const { method = '', url = '', rawHeaders, headers } = request
        const one = { method, url, rawHeaders, headers, body }
        reached.push(one)
        answer(one, response)
      })
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reached,
    async during(answering, scene) {
      answer = answering
      try {
        return await scene()
      } finally {
        answer = echo
      }
    },
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function echo({ body, headers }: Reached, response: ServerResponse): void {
  const bytes = body.length > 0 ? body : Buffer.from('{}')
  const type = String(headers['content-type'] ?? 'application/json')
  response.writeHead(200, { 'content-type': type, 'content-length': bytes.length })
  response.end(bytes)
}

/** Answers with one JSON value and these further header fields. */
export function answering(value: unknown, headers: Record<string, string> = {}): Answering {
  return (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(value))
  }
}

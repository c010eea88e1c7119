import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A receiver that answers when a test releases it. */
export interface HeldServer {
  readonly url: string
  /** Bodies of the requests that arrived, in their order. */
  readonly bodies: readonly string[]
  /** Called for each request that arrived whole. */
  onRequest: (body: string, response: ServerResponse) => void
  /** Requests that were not answered yet. */
  readonly held: ServerResponse[]
  close(): Promise<void>
}

export async function openHeldServer(): Promise<HeldServer> {
  const bodies: string[] = []
  const held: ServerResponse[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      bodies.push(body)
      held.push(response)
      opened.onRequest(body, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const opened: HeldServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    held,
    onRequest: () => undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return opened
}

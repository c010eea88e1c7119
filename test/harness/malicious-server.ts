import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { serverTlsOptions, type TlsCredential } from '@countersign/protocol/tls'
import { askControl, type Identity } from '@countersign/sdk'
import type { HeaderList } from './doors.ts'
import type { Reached } from './echo.ts'

export interface MaliciousAnswer {
  readonly status: number
  readonly headers: HeaderList
  readonly body: string | Uint8Array
  /** More of the body is announced, and never comes. */
  readonly isEndless?: boolean
}

/**
 * A receiver that terminates the mesh by itself, without a connector to keep it honest, and is
 * registered under its own name. `credential` is what it shows; its own unless stated otherwise.
 */
export async function openMaliciousServer(
  identity: Identity,
  answer: (reached: Reached) => MaliciousAnswer | Promise<MaliciousAnswer>,
  credential: TlsCredential = identity.credential(),
): Promise<{ readonly url: string; stop(): Promise<void>; close(): Promise<void> }> {
  const options = serverTlsOptions({ ...credential, requestPeer: 'required', alpn: ['http/1.1'] })
  const server = createServer(options, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    const reply = async (): Promise<void> => {
      const { method = '', url = '', rawHeaders, headers } = request
      const given = await answer({ method, url, rawHeaders, headers, body: Buffer.concat(chunks) })
      response.writeHead(given.status, given.headers.flat())
      if (given.isEndless === true) response.write(given.body)
      else response.end(given.body)
    }
    request.on('end', () => void reply().catch(() => response.destroy()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  await register(identity, [{ url, protocol: 'auto', connector: true }])
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return {
    url,
    stop,
    async close() {
      await register(identity, [])
      await stop()
    },
  }
}

async function register(identity: Identity, endpoints: readonly object[]): Promise<void> {
  const value = { instance: 'malicious', endpoints, ttlSeconds: 600 }
  await askControl(identity.connection, { method: 'POST', path: '/v1/mesh/endpoints', value })
}

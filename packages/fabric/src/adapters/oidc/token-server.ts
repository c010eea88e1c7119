import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { TokenServer, TokenServerOptions } from '../../identity/token-server.ts'
import { openTokenKey, type TokenKey } from './token-key.ts'
import type { TokenRecords } from './token-record.ts'
import { verifyAccessToken } from './verify-token.ts'

type Callback = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/**
 * Access tokens by `oidc-provider`, which is loaded with the first request below the issuer: the
 * fabric starts, and checks tokens, without it.
 */
export function oidcTokenServer(options: TokenServerOptions): TokenServer {
  let opening: Promise<TokenKey> | null = null
  let starting: Promise<Callback> | null = null
  const records: TokenRecords = new WeakMap()

  const tokenKey = (): Promise<TokenKey> => {
    opening ??= openTokenKey(options.secrets).catch((error: unknown) => {
      opening = null
      throw error
    })
    return opening
  }
  const start = async (): Promise<Callback> => {
    const { createProvider } = await import('./provider.ts')
    return createProvider(options, await tokenKey(), records)
  }

  return {
    handle: async (request, response, { body, record }) => {
      starting ??= start().catch((error: unknown) => {
        starting = null
        throw error
      })
      const answer = await starting
      rebase(request, new URL(options.issuer()))
      provide(request, body)
      records.set(request, record)
      await answer(request, response)
    },
    verify: async (token, admitCheck) =>
      verifyAccessToken(token, await tokenKey(), { ...options, admitCheck }),
  }
}

/**
 * The vendor builds addresses, and accepted audiences among them, from the Host header. They come
 * from configuration instead: otherwise a caller could choose for whom an assertion was meant.
 */
function rebase(request: IncomingMessage, issuer: URL): void {
  const path = request.url ?? '/'
  const mount = issuer.pathname.replace(/\/$/, '')
  const inside = path === mount || path.startsWith(`${mount}/`) || path.startsWith(`${mount}?`)
  const shortened = inside ? path.slice(mount.length) : path
  const url = shortened.startsWith('/') ? shortened : `/${shortened}`
  Object.assign(request, { originalUrl: `${mount}${url}`, url })
  request.headers.host = issuer.host
  if (request.httpVersionMajor >= 2) request.headers[':authority'] = issuer.host
  delete request.headers['x-forwarded-host']
  delete request.headers['x-forwarded-proto']
}

/**
 * Hands the vendor a body that was read within our own bounds: it would read up to 56 KiB from
 * anyone, for as long as that takes.
 */
function provide(request: IncomingMessage, body: Uint8Array): void {
  const chunks = body.length === 0 ? [] : [Buffer.from(body)]
  Object.defineProperty(request, 'readable', { value: true })
  Object.assign(request, { iterator: () => Readable.from(chunks) })
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { TokenServer, TokenServerOptions } from '../../identity/token-server.ts'
import { TOKEN_OVERLAP_MS, type TokenKey, TokenKeys } from './token-key.ts'
import type { TokenRecords } from './token-record.ts'
import { verifyAccessToken } from './verify-token.ts'

interface Started {
  /** The ids of its keys. */
  readonly of: string
  readonly callback: Promise<Callback>
}

type Callback = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/**
 * Access tokens by `oidc-provider`, which is loaded with the first request below the issuer: the
 * fabric starts, and checks tokens, without it.
 */
export function oidcTokenServer(options: TokenServerOptions): TokenServer {
  const keys = new TokenKeys(options.keys, options.clock)
  let started: Started | null = null
  const records: TokenRecords = new WeakMap()

  /** The vendor fixes its keys when it starts, so that each rotation starts another one. */
  const start = (versions: readonly TokenKey[]): Promise<Callback> => {
    const of = versions.map(({ kid }) => kid).join(' ')
    if (started?.of === of) return started.callback
    const callback = import('./provider.ts').then(({ createProvider }) =>
      createProvider(options, { keys, versions }, records),
    )
    started = { of, callback }
    callback.catch(() => {
      if (started?.callback === callback) started = null
    })
    return callback
  }

  return {
    handle: async (request, response, { body, record }) => {
      const answer = await start(await keys.read())
      rebase(request, new URL(options.issuer()))
      provide(request, body)
      records.set(request, record)
      await answer(request, response)
    },
    isAccepted: (keyId) => keys.isAccepted(keyId),
    verify: (token, admitCheck) => verifyAccessToken(token, keys, { ...options, admitCheck }),
    async rotate() {
      const { version } = await keys.rotate()
      return { version, previousUntil: options.clock.now() + TOKEN_OVERLAP_MS }
    },
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

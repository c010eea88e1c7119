import type { IncomingMessage } from 'node:http'
import type { RefusalCode } from '@countersign/protocol'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { TokenRecord, VerifiedToken } from '../../identity/token-server.ts'
import { Refusal } from '../../lib/refusal.ts'

/** The recorders of the requests under way. */
export type TokenRecords = WeakMap<IncomingMessage, TokenRecord>

/** Of RFC 6749, section 5.2; every other error is about how the request was made. */
const codes: Readonly<Record<string, RefusalCode>> = {
  invalid_client: 'CREDENTIAL_REJECTED',
  server_error: 'UNDECIDED',
}

/**
 * Runs around the whole of the vendor's answer and before it is sent. A token that `verify` would
 * not take back is not given out, and neither is one that could not be recorded.
 */
export function recordTokens(
  records: TokenRecords,
  verify: (token: string) => Promise<VerifiedToken | Refusal>,
): (ctx: KoaContextWithOIDC, next: () => Promise<void>) => Promise<void> {
  return async (ctx, next) => {
    await next()
    // Undefined when the request matches no route of the vendor's, although its types exclude that.
    if ((ctx.oidc as typeof ctx.oidc | undefined)?.route !== 'token') return
    try {
      const record = records.get(ctx.req)
      if (record === undefined) throw new Error('this request is not recorded')
      const answer = answerOf(ctx.body)
      const token = ctx.status === 200 ? await verify(answer['access_token'] ?? '') : null
      if (token instanceof Refusal) throw new Error(token.detail)
      if (token !== null) return await record.issued(token)
      const { error = '', error_description: reason = '' } = answer
      await record.refused(new Refusal(codes[error] ?? 'MESSAGE_MALFORMED', `${error}: ${reason}`))
    } catch {
      ctx.status = 503
      // In place of a body that may hold the token.
      ctx.body = { error: 'temporarily_unavailable', error_description: 'not on record' }
    }
  }
}

function answerOf(body: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(typeof body === 'object' && body !== null ? body : {})
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]))
}

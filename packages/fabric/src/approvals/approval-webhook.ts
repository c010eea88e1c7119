import { draftSignature, formatContentDigest, toBase64, utf8 } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { Shares } from '../lib/limits.ts'
import { sha256 } from '../lib/sha256.ts'
import { type ApprovalRecord, principalText } from './approval-record.ts'

/** Notifications under way or waiting to be sent again; beyond them, new ones are dropped. */
export const NOTIFICATIONS_MAX = 64
/** Of one party that asks, which moreover gets at most as many as are left for others. */
export const NOTIFICATIONS_PER_CALLER_MAX = 8
/** The pauses before the second, third and fourth attempt. */
const pausesMs = [1_000, 10_000, 60_000] as const

export interface WebhookOptions {
  readonly url: URL
  readonly signer: { readonly keyId: string; sign(bytes: Uint8Array): Uint8Array }
  readonly clock: Pick<Clock, 'now'>
  /** Resolves to the status; rejects when there was no answer within bounds. */
  post(message: WebhookMessage): Promise<number>
  /** Resolves after `ms`; rejects once the webhook is closed. */
  pause(ms: number): Promise<void>
  log(event: string, facts: Readonly<Record<string, string>>): void
}

export interface WebhookMessage {
  readonly url: URL
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array
}

/**
 * Notifies another system of each request for an approval: its id, the two ends, the operation and
 * the end, and no parameter. Notifications never delay an exchange, and none of them is a promise:
 * one that cannot be delivered is logged, and the request waits all the same.
 */
export function approvalWebhook(options: WebhookOptions): (record: ApprovalRecord) => void {
  const places = new Shares(NOTIFICATIONS_MAX, NOTIFICATIONS_PER_CALLER_MAX)
  return (record) => {
    // A connector names the callers of its requests: counted by them, it would have as many shares
    // as there are agents.
    const owner = principalText(record.askedBy)
    if (!places.hasSpace(owner)) {
      const cause = `too many of ${owner} are under way`
      options.log('an approval was not notified', { approval: record.id, cause })
      return
    }
    places.take(owner)
    deliver(options, record)
      .catch((cause: unknown) => {
        const facts = { approval: record.id, cause: String(cause) }
        options.log('an approval was not notified', facts)
      })
      .finally(() => places.give(owner))
  }
}

async function deliver(options: WebhookOptions, record: ApprovalRecord): Promise<void> {
  let last = 'no attempt'
  for (const pauseMs of [0, ...pausesMs]) {
    if (pauseMs > 0) await options.pause(pauseMs)
    // Signed anew each time: a receiver may refuse a signature of a minute ago.
    const status = await options.post(signedMessage(options, record)).catch((cause: unknown) => {
      last = String(cause)
      return null
    })
    if (status !== null && status >= 200 && status < 300) return
    if (status !== null) last = `status ${status}`
  }
  throw new Error(last)
}

function signedMessage(
  { url, signer, clock }: WebhookOptions,
  { id, caller, receiver, protocol, operation, tool, expiresAt }: ApprovalRecord,
): WebhookMessage {
  const ends = { caller: principalText(caller), receiver: principalText(receiver) }
  const about = { id, ...ends, protocol, operation, tool, expiresAt: iso(expiresAt) }
  const body = utf8(JSON.stringify(about))
  const headers: [string, string][] = [
    ['content-type', 'application/json'],
    ['content-digest', formatContentDigest(sha256(body))],
  ]
  const path = `${url.pathname}${url.search}`
  const components = ['"@method"', '"@authority"', '"@path"']
  if (url.search !== '') components.push('"@query"')
  components.push('"content-type"', '"content-digest"')
  const created = Math.floor(clock.now() / 1000)
  const draft = { components, created, keyId: signer.keyId, nonce: id, tag: 'countersign-approval' }
  const request = { method: 'POST', path, authority: url.host, headers }
  const { input, base } = draftSignature(draft, request)
  const signature = toBase64(signer.sign(utf8(base)))
  headers.push(['signature-input', `fabric=${input}`], ['signature', `fabric=:${signature}:`])
  return { url, headers, body }
}

const iso = (unixMs: number): string => new Date(unixMs).toISOString()

import { createHash } from 'node:crypto'
import {
  type ExchangeId,
  fieldValues,
  formatSpiffeId,
  type HeaderList,
  isAgentName,
  isExchangeId,
  parseSpiffeId,
} from '@countersign/protocol'
import { headerReader } from '../connection/control.ts'
import type { ConnectionResponse } from '../connection/fabric-connection.ts'
import { findRefusal } from '../connection/refused.ts'
import { afterFirst } from '../connection/second-copy.ts'
import type { Identity } from '../identity/identity.ts'
import { type SentRequest, signRequest } from '../identity/signing.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { EventParser, Transcript } from './events.ts'

/** A request to an agent, bounded and complete, before it is signed. */
export interface OutgoingCall {
  /** An agent's name, or its SPIFFE ID in this trust domain. */
  readonly to: string
  readonly method: string
  /** Path and query at the agent, starting with a slash. */
  readonly path: string
  readonly headers: Headers
  readonly body: Uint8Array
  readonly signal: AbortSignal | undefined
}

/** The received part of a body, for the comparison with a receipt. */
export type BodyProof =
  | { readonly kind: 'whole'; readonly digest: Uint8Array }
  | ({ readonly kind: 'events' } & Readonly<ReturnType<Transcript['digests']>>)
  | { readonly kind: 'unfinished' }

/** One exchange as the caller saw it: what it sent, and what came back. */
export interface Exchange {
  readonly id: ExchangeId | null
  readonly sent: SentRequest
  readonly receiver: string
  readonly status: number
  readonly headers: HeaderList
  readonly header: (name: string) => string | null
  readonly isEventStream: boolean
  /** The body, once; what passes through is hashed for `proof`. */
  readonly body: AsyncIterable<Uint8Array>
  readonly proof: () => BodyProof
  discard(): void
}

/** Set by us, or meaningless beyond one connection. Clients set some of them by habit. */
const droppedNames: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Methods that ask for no effect (RFC 9110, section 9.2.1). */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

const reservedName = /^(?:countersign-.*|content-digest|signature|signature-input)$/

/** Signs and sends. Rejects before anything leaves when the call cannot be sent as it is. */
export async function exchange(
  identity: Identity,
  call: OutgoingCall,
  clock: Clock,
): Promise<Exchange> {
  identity.assertCurrent()
  const receiver = receiverOf(call.to, identity.trustDomain)
  const path = `/agents/${receiver.name}${checkedPath(call.path)}`
  const { authority } = identity.connection
  const headers: HeaderList = [...outgoing(call.headers), ['accept-encoding', 'identity']]
  const unsigned = { method: call.method, path, authority, headers, body: call.body }
  const signer = identity.signing
  const sign = (): SentRequest =>
    signRequest(unsigned, { signer, receiverId: receiver.spiffeId, clock })
  let sent = sign()
  const response = await identity.connection.request({
    ...unsigned,
    headers: sent.headers,
    signal: call.signal,
    repeatable: safeMethods.has(call.method),
    signAgain: () => {
      sent = sign()
      return sent.headers
    },
  })
  return received(response, sent, receiver.name)
}

function received(response: ConnectionResponse, sent: SentRequest, receiver: string): Exchange {
  const header = headerReader(response.headers)
  const refusal = response.isSecondCopy ? findRefusal(response.status, header) : null
  if (refusal !== null && !refusal.mayHaveActed) {
    response.discard()
    throw afterFirst(refusal)
  }
  const encoding = header('content-encoding')
  if (encoding !== null && encoding !== 'identity') {
    response.discard()
    throw new AgentError('ANSWER_MALFORMED', `content-encoding ${encoding} was not asked for`)
  }
  const id = header('countersign-exchange')
  const isEventStream = /^text\/event-stream\s*(?:;|$)/i.test(header('content-type') ?? '')
  const { body, proof } = isEventStream ? provenEvents(response.body) : provenBody(response.body)
  return {
    id: isExchangeId(id) ? id : null,
    sent,
    receiver,
    status: response.status,
    headers: response.headers,
    header,
    isEventStream,
    body,
    proof,
    discard: () => response.discard(),
  }
}

interface Proven {
  readonly body: AsyncIterable<Uint8Array>
  readonly proof: () => BodyProof
}

function provenBody(chunks: AsyncIterable<Uint8Array>): Proven {
  const hash = createHash('sha256')
  let finished = false
  return {
    body: watched(chunks, {
      take: (chunk) => hash.update(chunk),
      finish: () => {
        finished = true
      },
    }),
    proof: () =>
      finished
        ? { kind: 'whole', digest: new Uint8Array(hash.copy().digest()) }
        : { kind: 'unfinished' },
  }
}

function provenEvents(chunks: AsyncIterable<Uint8Array>): Proven {
  const parser = new EventParser(LIMITS.eventBytesMax)
  const transcript = new Transcript()
  let finished = false
  return {
    body: watched(chunks, {
      take: (chunk) => {
        for (const block of parser.read(chunk)) transcript.take(block)
      },
      finish: () => {
        parser.end()
        finished = true
      },
    }),
    proof: () => (finished ? { kind: 'events', ...transcript.digests() } : { kind: 'unfinished' }),
  }
}

async function* watched(
  chunks: AsyncIterable<Uint8Array>,
  watch: { take(chunk: Uint8Array): void; finish(): void },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    watch.take(chunk)
    yield chunk
  }
  watch.finish()
}

function outgoing(headers: Headers): [string, string][] {
  const kept: [string, string][] = []
  for (const [name, value] of headers) {
    if (droppedNames.has(name)) continue
    if (reservedName.test(name)) {
      throw new AgentError('REQUEST_MALFORMED', `the field ${name} is set by the SDK`)
    }
    kept.push([name, value])
  }
  return kept
}

/** The same spelling that the fabric accepts: what is signed is what is authorized. */
export function checkedPath(path: string): string {
  if (!path.startsWith('/') || /[^\x21-\x7e]|[\\#]/.test(path)) {
    throw new AgentError('REQUEST_MALFORMED', 'the path is not an encoded path with query')
  }
  return path
}

export interface Receiver {
  readonly name: string
  readonly spiffeId: string
}

export function receiverOf(to: string, trustDomain: string): Receiver {
  const name = isAgentName(to) ? to : agentIn(to, trustDomain)
  if (name === null) throw new AgentError('REQUEST_MALFORMED', `${to} names no agent`)
  return { name, spiffeId: formatSpiffeId({ trustDomain, kind: 'agent', name, instance: null }) }
}

function agentIn(to: string, trustDomain: string): string | null {
  const id = parseSpiffeId(to)
  return id?.kind === 'agent' && id.trustDomain === trustDomain ? id.name : null
}

/** The repeated fields of a response, in the form that `fetch` gives them. */
export function toHeaders(list: HeaderList): Headers {
  const headers = new Headers()
  for (const name of new Set(list.map(([each]) => each))) {
    for (const value of fieldValues(name, list)) headers.append(name, value)
  }
  return headers
}

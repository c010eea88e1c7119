import { createHash } from 'node:crypto'
import {
  type ExchangeId,
  type FrameFormat,
  fieldValues,
  formatSpiffeId,
  frameFormatOf,
  type HeaderList,
  isAgentName,
  isExchangeId,
  parseSpiffeId,
  utf8,
} from '@countersign/protocol'
import { headerReader } from '../connection/control.ts'
import type { ConnectionResponse } from '../connection/fabric-connection.ts'
import { findRefusal } from '../connection/refused.ts'
import { afterFirst } from '../connection/second-copy.ts'
import { FrameTally } from '../frames/frame-tally.ts'
import type { OutgoingFrames } from '../frames/outgoing-frames.ts'
import { type PassingFrames, passingFrames } from '../frames/passing-frames.ts'
import type { Identity } from '../identity/identity.ts'
import { type SentRequest, signRequest } from '../identity/signing.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { type CallDeadline, checkTimeout, openDeadline, TIMEOUT_FIELD } from './deadline.ts'
import { EventParser } from './events.ts'

/** A request to an agent, bounded and complete, before it is signed. */
export interface OutgoingCall {
  /** An agent's name, or its SPIFFE ID in this trust domain. */
  readonly to: string
  readonly method: string
  /** Path and query at the agent, starting with a slash. */
  readonly path: string
  readonly headers: Headers
  readonly body: Uint8Array | OutgoingFrames
  readonly signal: AbortSignal | undefined
  /** Stated to the fabric, and to each hop behind it. */
  readonly timeoutMs?: number | undefined
}

/** The received part of a body, for the comparison with a receipt. */
export interface BodyProof {
  readonly isFinished: boolean
  /** SHA-256 of all bytes that came. */
  readonly digest: Uint8Array
  /** Null for a body that has no frames: one message. */
  readonly frames: FrameTally | null
}

/** One exchange as the caller saw it: what it sent, and what came back. */
export interface Exchange {
  readonly id: ExchangeId | null
  readonly sent: SentRequest
  /** Null for a request that was sent whole. */
  readonly sentFrames: OutgoingFrames | null
  readonly receiver: string
  readonly status: number
  readonly headers: HeaderList
  readonly header: (name: string) => string | null
  readonly isEventStream: boolean
  /** The frames of the body, by its content type; null for one message and for events. */
  readonly format: FrameFormat | null
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
  checkTimeout(call.timeoutMs)
  const headers: HeaderList = [
    ...outgoing(call.headers),
    ['accept-encoding', 'identity'],
    ...(call.timeoutMs === undefined ? [] : [[TIMEOUT_FIELD, String(call.timeoutMs)] as const]),
  ]
  const sentFrames = call.body instanceof Uint8Array ? null : call.body
  const body = call.body instanceof Uint8Array ? call.body : null
  const unsigned = { method: call.method, path, authority, headers, body }
  const signer = identity.signing
  const sign = (): SentRequest =>
    signRequest(unsigned, { signer, receiverId: receiver.spiffeId, clock })
  // A stream that is slow to begin would otherwise outlive its signature.
  await sentFrames?.open(call.signal)
  let sent = sign()
  const deadline = openDeadline(call.signal, call.timeoutMs)
  try {
    const response = await identity.connection.request({
      ...unsigned,
      body: call.body,
      headers: sent.headers,
      signal: deadline.signal,
      repeatable: safeMethods.has(call.method),
      signAgain: () => {
        sent = sign()
        return sent.headers
      },
    })
    return received(response, { sent, sentFrames, receiver: receiver.name, deadline })
  } catch (error) {
    deadline.end()
    sentFrames?.stop()
    throw error
  }
}

function received(
  response: ConnectionResponse,
  made: Pick<Exchange, 'sent' | 'sentFrames' | 'receiver'> & { readonly deadline: CallDeadline },
): Exchange {
  const { deadline, ...of } = made
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
  const contentType = header('content-type')
  const isEventStream = /^text\/event-stream\s*(?:;|$)/i.test(contentType ?? '')
  const format = frameFormatOf(contentType)
  const { body, proof } = provenBody(response.body, {
    tally: isEventStream ? eventTally() : tallyFor(of.sentFrames, format),
    over: () => deadline.end(),
  })
  return {
    id: isExchangeId(id) ? id : null,
    ...of,
    status: response.status,
    headers: response.headers,
    header,
    isEventStream,
    format,
    body,
    proof,
    discard() {
      deadline.end()
      response.discard()
    },
  }
}

interface Proven {
  readonly body: AsyncIterable<Uint8Array>
  readonly proof: () => BodyProof
}

function provenBody(
  chunks: AsyncIterable<Uint8Array>,
  how: { readonly tally: PassingFrames | null; over(): void },
): Proven {
  const { tally } = how
  const hash = createHash('sha256')
  let isFinished = false
  const pass = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of chunks) {
        hash.update(chunk)
        tally?.take(chunk)
        yield chunk
      }
      tally?.end()
      isFinished = true
    } finally {
      how.over()
    }
  }
  return {
    body: pass(),
    proof: () => ({
      isFinished,
      digest: new Uint8Array(hash.copy().digest()),
      frames: tally?.tally ?? null,
    }),
  }
}

/**
 * The hash that the fabric commits to for events is over the data of each block. A stream that was
 * cut ends in blocks of the fabric itself, which are not in its transcript: its terminal event, and
 * before it an error for a JSON-RPC client.
 */
const ownEventsMax = 2

/** Only a streamed request is answered in frames; any other response is one message. */
function tallyFor(sent: OutgoingFrames | null, format: FrameFormat | null): PassingFrames | null {
  if (sent === null || format === null) return null
  return passingFrames(format, sent.frameBytesMax)
}

function eventTally(): PassingFrames {
  const parser = new EventParser(LIMITS.eventBytesMax)
  const tally = new FrameTally(ownEventsMax)
  return {
    tally,
    take(chunk) {
      for (const { data } of parser.read(chunk)) tally.add(utf8(data))
    },
    end: () => parser.end(),
  }
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

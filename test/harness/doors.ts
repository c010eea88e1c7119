import { formatSpiffeId } from '@countersign/protocol'
import type { TlsCredential } from '@countersign/protocol/tls'
import { type Heard, talk, talkInTurn } from './raw-http.ts'

export type HeaderList = readonly (readonly [string, string])[]

/** A request as a caller would make it, and the ways in which an attacker may change it. */
export interface Draft {
  /** The receiver's name; `echo` unless stated otherwise. */
  readonly to?: string
  /** POST unless stated otherwise. */
  readonly method?: string
  /** Path and query at the receiver. */
  readonly path?: string
  readonly headers?: HeaderList
  /** `{"hello":"world"}` as JSON unless stated otherwise; null for none. */
  readonly body?: string | Uint8Array | null
  readonly contentType?: string
  /** The certificate that is shown; that of `caller` by default, none when null. */
  readonly as?: TlsCredential | null
  /** The lines of the head, just before they leave. */
  readonly edit?: (lines: readonly string[]) => readonly string[]
  /** The bytes that follow the head instead of the body. */
  readonly payload?: readonly (string | Uint8Array)[]
}

/** A way to a receiver over which callers and attackers come. */
export interface Door {
  readonly transport: 'gateway' | 'mesh'
  /** Returns the address at which `to` is reached, and the form of its own `path` there. */
  place(to: string, path: string): Promise<Place>
  /** The certificate that is shown when a draft names none. */
  credential(): TlsCredential
}

export interface Place {
  readonly port: number
  readonly authority: string
  readonly path: string
}

export const trustDomain = 'countersign.local'

export function agentId(name: string): string {
  return formatSpiffeId({ trustDomain, kind: 'agent', name, instance: null })
}

export const defaultBody = '{"hello":"world"}'

export function bodyOf({ body = defaultBody }: Draft): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array(0))
}

/** The bytes of a draft on their way to `place`: head, then body. */
export function bytesOf(draft: Draft, place: Place): readonly (string | Uint8Array)[] {
  const body = bodyOf(draft)
  const head: string[] = [
    `${draft.method ?? 'POST'} ${place.path} HTTP/1.1`,
    `Host: ${place.authority}`,
    ...(draft.headers ?? []).map(([name, value]) => `${name}: ${value}`),
  ]
  if (body.length > 0) {
    head.push(`Content-Type: ${draft.contentType ?? 'application/json'}`)
    head.push(`Content-Length: ${body.length}`)
  }
  const lines = draft.edit?.(head) ?? head
  return [Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), ...(draft.payload ?? [body])]
}

/** Every answer to the bytes of a draft, on a connection of its own. */
export async function sendAll(
  door: Door,
  draft: Draft,
  wanted: number = 1,
): Promise<readonly Heard[]> {
  const place = await door.place(draft.to ?? 'echo', draft.path ?? '/')
  const credential = draft.as === null ? undefined : (draft.as ?? door.credential())
  const isBodiless = draft.method === 'HEAD'
  return talk({ port: place.port, credential, isBodiless }, bytesOf(draft, place), wanted)
}

export async function send(door: Door, draft: Draft = {}): Promise<Heard> {
  const [heard] = await sendAll(door, draft)
  if (heard === undefined) throw new Error('the peer hung up without an answer')
  return heard
}

/** As `send`, each draft when the one before is answered; all of them as the same caller. */
export async function sendInTurn(
  door: Door,
  as: TlsCredential,
  drafts: readonly Draft[],
): Promise<readonly Heard[]> {
  let port = 0
  const requests: (readonly (string | Uint8Array)[])[] = []
  for (const draft of drafts) {
    const place = await door.place(draft.to ?? 'echo', draft.path ?? '/')
    port = place.port
    requests.push(bytesOf(draft, place))
  }
  return talkInTurn({ port, credential: as }, requests)
}

/** The one value of a field; null when it is absent. */
export function field(heard: Heard, name: string): string | null {
  const values = heard.headers.get(name) ?? []
  if (values.length > 1) throw new Error(`${name} occurs twice`)
  return values[0] ?? null
}

export function refusalOf(heard: Heard): string | null {
  return field(heard, 'countersign-refusal')
}

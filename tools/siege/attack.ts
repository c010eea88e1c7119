import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type SecureClientSessionOptions,
} from 'node:http2'
import type { Socket } from 'node:net'
import { connect as connectPlain } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** The target of an attacker, and the one identity that it may have. */
export interface Target {
  readonly host: string
  readonly port: number
  /** Of the agent `mallory`, which may call `echo` and `evil`, and may discover. */
  readonly cert: string
  readonly key: string
  /** With which its connector states entries. */
  readonly signing: { readonly keyId: string; readonly key: string }
  /** Other listeners of the same trust domain, on the same host. */
  readonly doors: Doors
  /** A join string that was used up, as a thief may find one. */
  readonly join: string
  /** The facts of the decision that permits a call of `mallory` to itself. */
  readonly decision: Readonly<Record<string, string>>
  /** Resolves after `ms`, or at the end of the siege. */
  pause(ms: number): Promise<void>
  /**
   * Reports that the attack had its effect: the server refused it, waited for it, or was waited
   * for. An attack that never confirms an effect is one that does not work, and fails the siege.
   */
  confirm(): void
}

export interface Doors {
  /** Of the connector of `mesh-echo`, which `mallory` may call there. */
  readonly mesh: number
  /** Of the connector of `mesh-caller`, plain HTTP on loopback. */
  readonly loopback: number
  /** Of `served`, an agent that serves by the SDK. */
  readonly sdk: number
}

/** The same attacker at another listener. */
export function at(target: Target, port: number): Target {
  return { ...target, port }
}

/** Confirms once the peer answers with one of `statuses`, of whatever there is between them. */
export function expectStatus(target: Target, socket: Socket, ...statuses: readonly number[]): void {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text = `${text.slice(-20)}${chunk.toString('latin1')}`
    for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
      if (statuses.includes(Number(status))) target.confirm()
    }
  })
}

/** Confirms once the peer ends the connection, rather than the attacker. */
export function expectEnd(target: Target, socket: Socket): void {
  socket.once('end', () => target.confirm())
  socket.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (code === 'ECONNRESET' || code === 'EPIPE') target.confirm()
  })
}

/** Confirms once something arrives of what was not read until now. */
export async function expectUnparsed(target: Target, socket: Socket): Promise<void> {
  socket.once('data', () => target.confirm())
  socket.resume()
  await target.pause(1_000)
}

/**
 * One way to misbehave, as one file of this folder's `attacks`. Rounds follow one another until the
 * siege ends; the runner makes pauses, so that no attacker takes more than its share of the
 * machine.
 */
export interface Attack {
  readonly name: string
  /** Serves as the receiver `evil` on loopback; such an attack is called by `mallory`. */
  listen?(): Promise<number>
  round(target: Target): Promise<unknown>
}

/** Time that an attacker sits on what it occupies before it begins anew. */
export const holdMs = 8_000

/** A TLS connection that is up; the errors of its later life are the attacker's own business. */
export function dial(target: Target, isAgent = false): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...{ host: target.host, port: target.port, rejectUnauthorized: false },
      ALPNProtocols: ['http/1.1'],
      ...(isAgent ? { cert: target.cert, key: target.key } : {}),
    })
    socket.once('secureConnect', () => resolve(socket))
    socket.once('error', reject)
    socket.on('error', () => undefined)
  })
}

/** A TCP connection on which no handshake has begun. */
export function dialPlain({ host, port }: Target): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectPlain(port, host, () => resolve(socket))
    socket.once('error', reject)
    socket.on('error', () => undefined)
  })
}

export function dialHttp2(
  target: Target,
  isAgent = false,
  options: SecureClientSessionOptions = {},
): ClientHttp2Session {
  const session = connectHttp2(`https://${target.host}:${target.port}`, {
    rejectUnauthorized: false,
    ...(isAgent ? { cert: target.cert, key: target.key } : {}),
    ...options,
  })
  return session.on('error', () => undefined)
}

/**
 * Opens `count` connections by `open`, sits on them, and leaves. Resolves with those that were
 * still open.
 */
export async function hold(
  target: Target,
  count: number,
  open: () => Promise<Held> | Held,
): Promise<readonly Held[]> {
  const held: Held[] = []
  for (let at = 0; at < count; at++) {
    held.push(await open())
    await target.pause(10)
  }
  await target.pause(holdMs)
  const remaining = held.filter(({ destroyed }) => !destroyed)
  for (const each of held) each.destroy()
  return remaining
}

export interface Held {
  readonly destroyed: boolean
  destroy(): unknown
}

export function post(target: Target, path: string, fields: readonly string[] = []): string {
  const head = [`POST ${path} HTTP/1.1`, `Host: ${target.host}:${target.port}`, ...fields]
  return `${head.join('\r\n')}\r\n\r\n`
}

export function postJson(target: Target, path: string, body: string | Uint8Array): Buffer {
  const fields = ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]
  return Buffer.concat([Buffer.from(post(target, path, fields)), Buffer.from(body)])
}

export function get(target: Target, path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${target.host}:${target.port}\r\n\r\n`
}

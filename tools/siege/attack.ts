import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type SecureClientSessionOptions,
} from 'node:http2'
import type { Socket } from 'node:net'
import { connect as connectPlain } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** Where an attacker strikes, and the one identity that it may have. */
export interface Target {
  readonly host: string
  readonly port: number
  /** Of the agent `mallory`, which may call `echo` and `evil`, and may discover. */
  readonly cert: string
  readonly key: string
  /** Resolves after `ms`, or at the end of the siege. */
  pause(ms: number): Promise<void>
}

/**
 * One way to misbehave, as one file of this folder's `attacks`. Rounds follow one another until the
 * siege ends; the runner makes pauses, so that no attacker takes more than its share of the machine.
 */
export interface Attack {
  readonly name: string
  /** Serves as the receiver `evil` on loopback; such an attack is called by `mallory`. */
  listen?(): Promise<number>
  round(target: Target): Promise<void>
}

/** How long an attacker sits on what it occupies before it begins anew. */
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

/** Opens `count` connections by `open`, sits on them, and leaves. */
export async function hold(
  target: Target,
  count: number,
  open: () => Promise<{ destroy(): unknown }> | { destroy(): unknown },
): Promise<void> {
  const held: { destroy(): unknown }[] = []
  for (let at = 0; at < count; at++) {
    held.push(await open())
    await target.pause(10)
  }
  await target.pause(holdMs)
  for (const each of held) each.destroy()
}

export function post(target: Target, path: string, fields: readonly string[] = []): string {
  const head = [`POST ${path} HTTP/1.1`, `Host: ${target.host}:${target.port}`, ...fields]
  return `${head.join('\r\n')}\r\n\r\n`
}

export function get(target: Target, path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${target.host}:${target.port}\r\n\r\n`
}

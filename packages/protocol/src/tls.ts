import { constants, type KeyObject } from 'node:crypto'
import type { Server as NetServer } from 'node:net'
import { type PeerCertificate, type Server, TLSSocket, type TlsOptions } from 'node:tls'
import { PeerFault, type PeerIdentity, type TrustBundles } from './certificates/peer-identity.ts'
import { toBase64 } from './encoding/bytes.ts'

/**
 * The one TLS module: every listener and every client takes its options and its peers from here.
 *
 * Node's own verdict (`authorized`) is never read. It survives resumption after expiry, appears on
 * resumed sessions that carried no certificate, and mixes the authorities of all trust domains.
 * The identity of a peer is derived from the bytes of its certificate, after every handshake.
 */

export * from './certificates/certificate.ts'
export * from './certificates/peer-identity.ts'
export { breakOff } from './connections/break-off.ts'
export * from './connections/connections.ts'
export { answerPlainHttp } from './connections/plain-http.ts'
export { drained, hasUnsent, sendBytes } from './connections/send-bytes.ts'

/** A certificate chain with its key: what one side of a connection shows of itself. */
export interface TlsCredential {
  /** DER, leaf first. */
  readonly certificateChain: readonly Uint8Array[]
  /** A private key object, or PKCS #8 in PEM. */
  readonly privateKey: KeyObject | string
}

export type KeyExchange = 'hybrid-preferred' | 'hybrid-required'

/**
 * The peer that must be at the other end: one SPIFFE ID, or any agent of one trust domain. The
 * second is for meeting unknown agents; with it, any agent of the domain may stand in for any
 * other.
 */
export type ExpectedPeer = string | { readonly trustDomain: string }

export interface PeerTrust {
  readonly bundles: TrustBundles
  /** Unix milliseconds. */
  readonly now: () => number
}

/** As OpenSSL names them; the first is ML-KEM-768 with X25519. P-256 is for FIPS-bound clients. */
const groups = {
  'hybrid-preferred': 'X25519MLKEM768:X25519:P-256',
  'hybrid-required': 'X25519MLKEM768',
} as const satisfies Record<KeyExchange, string>

/** A handshake of one round trip, with generous room for a slow radio link. */
const handshakeTimeoutMsDefault = 10_000

/** Timers longer than this drift and sleep through a suspended machine; look again that often. */
const expiryLookMsMax = 60_000

/** `none` asks for no certificate. The other two ask, and differ in what `guardPeers` does. */
export type PeerRequest = 'none' | 'optional' | 'required'

/**
 * Options for a listener (`node:tls`, `node:https`, `node:http2`). TLS 1.3 only; sessions are never
 * resumed, because a resumed session skips the checks that give a peer its identity.
 *
 * Node is configured not to reject certificates, since it would do so by the wrong rules: the
 * listener must take the caller from `peerIdentity`, and with `required` must also call
 * `guardPeers`.
 */
export function serverTlsOptions(
  options: TlsCredential & {
    readonly requestPeer: PeerRequest
    readonly alpn?: readonly ('h2' | 'http/1.1')[]
    readonly keyExchange?: KeyExchange
  },
): TlsOptions {
  return {
    ...credentialOptions(options),
    ...versionOptions(options.keyExchange),
    requestCert: options.requestPeer !== 'none',
    rejectUnauthorized: false,
    handshakeTimeout: handshakeTimeoutMsDefault,
    // Tickets become references into a cache that does not exist: nothing to resume from.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
  }
}

export interface ClientTls extends PeerTrust {
  readonly expected: ExpectedPeer
  /** False for a certificate that is valid by itself and no longer current. */
  readonly admits?: (peer: PeerIdentity) => boolean
  readonly credential?: TlsCredential
  readonly alpn?: readonly ('h2' | 'http/1.1')[]
  readonly keyExchange?: KeyExchange
}

/** Result of `clientTlsOptions`: members of `tls.connect`, `https.Agent` and undici's `connect`. */
export interface ClientTlsOptions {
  readonly minVersion: 'TLSv1.3'
  readonly maxVersion: 'TLSv1.3'
  readonly ecdhCurve: string
  readonly ca: string[]
  readonly cert?: string
  readonly key?: string
  readonly rejectUnauthorized: true
  readonly checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined
  readonly maxCachedSessions: 0
  readonly ALPNProtocols?: string[]
}

/**
 * Options for a client. Safe alone, since nothing is cached: without a resumed session Node always
 * verifies the chain and calls our identity check. Call `verifyPeer` after `secureConnect` all the
 * same, and build new options (and a new pool) when bundles or credentials change. One agent or
 * pool per expected peer: the options of an `https.Agent` win over those of a request.
 */
export function clientTlsOptions(client: ClientTls): ClientTlsOptions {
  const trustDomain = domainOf(client.expected)
  const roots = client.bundles.find(trustDomain)?.roots ?? []
  return {
    ...(client.credential === undefined ? {} : credentialOptions(client.credential)),
    ...versionOptions(client.keyExchange),
    // An empty list would mean "none", an absent one Node's own public authorities.
    ca: roots.map((root) => toPem(root)),
    rejectUnauthorized: true,
    checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
      toError(matchPeer(client.bundles.identify(chainOf(certificate), client.now()), client)),
    // The https.Agent of Node and the connector of undici share this name. A ticket earned from
    // one server must not open a connection where another was expected (the second trap).
    maxCachedSessions: 0,
    ...(client.alpn === undefined ? {} : { ALPNProtocols: [...client.alpn] }),
  }
}

function versionOptions(keyExchange: KeyExchange = 'hybrid-preferred') {
  return {
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ecdhCurve: groups[keyExchange],
  } as const
}

function credentialOptions(credential: TlsCredential): { cert: string; key: string } {
  const { privateKey } = credential
  return {
    cert: credential.certificateChain.map((each) => toPem(each)).join(''),
    key:
      typeof privateKey === 'string'
        ? privateKey
        : privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** One certificate as text (RFC 7468). */
export function toPem(certificate: Uint8Array): string {
  const lines = toBase64(certificate).match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/**
 * The TLS connection below a request of `node:http`, `node:https` or `node:http2`; null when there
 * is none. The `socket` of an HTTP/2 request is a stand-in, which has no certificate.
 */
export function tlsSocketOf(request: {
  readonly socket?: unknown
  readonly stream?: { readonly session?: { readonly socket?: unknown } | undefined }
}): TLSSocket | null {
  const socket = request.stream?.session?.socket ?? request.socket
  return socket instanceof TLSSocket ? socket : null
}

/** Our own bound is lower; this one only stops a chain that never ends. */
const chainMax = 10

/** A chain costs a copy of every certificate, and a connection's peer cannot change (TLS 1.3). */
const chains = new WeakMap<TLSSocket, readonly Uint8Array[]>()

/**
 * Returns the chain that the peer sent, DER, leaf first, none of it verified; null when it sent
 * none. It is the same array for every request of a connection, so that `identify` recognizes it.
 */
export function peerChain(socket: TLSSocket | null): readonly Uint8Array[] | null {
  if (socket === null) return null
  const known = chains.get(socket)
  if (known !== undefined) return known
  const chain: Uint8Array[] = []
  // Not getPeerCertificate(true): on the side that accepts, it leaves out the authorities.
  let next = socket.getPeerX509Certificate()
  while (next !== undefined && chain.length < chainMax) {
    chain.push(new Uint8Array(next.raw))
    next = next.issuerCertificate
  }
  // Before the handshake there is nothing yet, which must not be remembered.
  if (chain.length === 0) return null
  chains.set(socket, Object.freeze(chain))
  return chain
}

/** The same from the older form, which is all that `checkServerIdentity` is handed. */
function chainOf(certificate: PeerCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = []
  let next: Partial<PeerCertificate> & { issuerCertificate?: PeerCertificate } = certificate
  // Node gives an empty object when the certificate is missing, and ties a root to itself.
  while (next.raw !== undefined && chain.length < chainMax) {
    chain.push(new Uint8Array(next.raw))
    if (next.issuerCertificate === undefined || next.issuerCertificate === next) break
    next = next.issuerCertificate
  }
  return chain
}

/**
 * Returns the identity of the peer, from certificate bytes alone; `peer` is a socket or a chain in
 * DER.
 */
export function peerIdentity(
  peer: TLSSocket | readonly Uint8Array[],
  bundles: TrustBundles,
  now: number,
): PeerIdentity | PeerFault {
  const chain = peer instanceof TLSSocket ? (peerChain(peer) ?? []) : peer
  return bundles.identify(chain, now)
}

/** As `peerIdentity`, and a fault as well when it is not the expected one. */
export function verifyPeer(
  socket: TLSSocket,
  trust: PeerTrust & { readonly expected: ExpectedPeer },
): PeerIdentity | PeerFault {
  return matchPeer(peerIdentity(socket, trust.bundles, trust.now()), trust)
}

function matchPeer(
  peer: PeerIdentity | PeerFault,
  { expected, admits }: Pick<ClientTls, 'expected' | 'admits'>,
): PeerIdentity | PeerFault {
  if (peer instanceof PeerFault) return peer
  if (admits?.(peer) === false) {
    return new PeerFault(
      'PEER_UNEXPECTED',
      `the certificate of ${peer.spiffeId} is no longer current`,
    )
  }
  const matches =
    typeof expected === 'string'
      ? peer.spiffeId === expected
      : peer.trustDomain === expected.trustDomain
  return matches ? peer : new PeerFault('PEER_UNEXPECTED', `the peer is ${peer.spiffeId}`)
}

function domainOf(expected: ExpectedPeer): string {
  if (typeof expected !== 'string') return expected.trustDomain
  const [, trustDomain] = /^spiffe:\/\/([^/]+)\/./.exec(expected) ?? []
  if (trustDomain === undefined) throw new TypeError('the expected peer is not a SPIFFE ID')
  return trustDomain
}

/**
 * A handshake that ended without the expected peer; `fault` is null when the handshake did not take
 * place.
 */
export class PeerError extends Error {
  override readonly name = 'PeerError'
  readonly fault: PeerFault | null

  constructor(message: string, fault: PeerFault | null, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.fault = fault
  }
}

function toError(peer: PeerIdentity | PeerFault): PeerError | undefined {
  if (!(peer instanceof PeerFault)) return undefined
  return new PeerError(`${peer.code}: ${peer.detail}`, peer)
}

/**
 * The peer that must be at the other end for as long as a connection stands, and the time until
 * which it may stand.
 */
export type ConnectedPeer = Pick<ClientTls, 'bundles' | 'now' | 'expected' | 'admits'> & {
  /** The end of what the peer's certificate was renewed to, in Unix milliseconds; 0 for nothing. */
  readonly continuesUntil?: (peer: PeerIdentity) => number
}

export interface PeerWatch {
  /**
   * Returns the reason why nothing new may be sent, or null: the check of the handshake, as of now.
   */
  fault(): PeerFault | null
  /** Destroys the connection if not even what is under way may go on. It also happens in time. */
  look(): void
}

/**
 * Keeps asking of a connection that we opened what its handshake was asked. A certificate ends, a
 * root is removed and an agent enrols again while connections stand, and Node looks once. Each new
 * request must ask `fault`; what is under way goes on while the certificate was renewed, though not
 * without its root or under a later enrolment. Stops by itself when the socket closes.
 */
export function watchPeer(socket: TLSSocket, peer: PeerIdentity, client: ConnectedPeer): PeerWatch {
  const chain = peerChain(socket) ?? []
  const ask = (at: number): PeerFault | null => {
    const answer = matchPeer(client.bundles.identify(chain, at), client)
    return answer instanceof PeerFault ? answer : null
  }
  const faultUnderWay = (leftMs: number): PeerFault | null => {
    const at = Math.min(Math.max(client.now(), peer.validFrom), peer.expiresAt)
    const expired = new PeerFault('CERTIFICATE_EXPIRED', `${peer.spiffeId} did not renew it`)
    return ask(at) ?? (leftMs < 0 ? expired : null)
  }
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    clearTimeout(timer)
    if (socket.destroyed) return
    const leftMs = Math.max(peer.expiresAt, client.continuesUntil?.(peer) ?? 0) - client.now()
    const fault = faultUnderWay(leftMs)
    if (fault !== null) {
      // With a reason: a body that ends with its connection would otherwise pass as whole.
      socket.once('error', () => undefined).destroy(new PeerError(fault.detail, fault))
      return
    }
    timer = setTimeout(look, Math.min(leftMs + 1, expiryLookMsMax))
    timer.unref()
  }
  socket.once('close', () => clearTimeout(timer))
  look()
  return { fault: () => ask(client.now()), look }
}

/**
 * Destroys a live connection once `expiresAt` (Unix milliseconds) has passed: Node looks at a
 * certificate only during the handshake. `continuesUntil` gives the end of what the certificate was
 * renewed to, 0 for nothing. Stops by itself when the socket closes.
 */
export function watchExpiry(
  socket: TLSSocket,
  expiresAt: number,
  clock: { readonly now: () => number },
  continuesUntil: () => number = () => 0,
): void {
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    const leftMs = Math.max(expiresAt, continuesUntil()) - clock.now()
    if (leftMs < 0) {
      socket.destroy()
      return
    }
    timer = setTimeout(look, Math.min(leftMs + 1, expiryLookMsMax))
    timer.unref()
  }
  socket.once('close', () => clearTimeout(timer))
  look()
}

/**
 * Puts the identity check in front of a listener. A connection whose peer has no good identity is
 * closed when one is `required`; otherwise it stays, so that the request can be refused and
 * recorded. A connection with a good identity is closed when its certificate expires, or when the
 * renewal of that certificate does. In between it carries what is under way: code that reads a new
 * request from it must look at the certificate again.
 */
export function guardPeers(
  server: NetServer,
  trust: PeerTrust & {
    readonly requestPeer: PeerRequest
    readonly continuesUntil?: ((peer: PeerIdentity) => number) | undefined
  },
): void {
  // First in line: HTTP servers attach their parser to the same event.
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const peer = peerIdentity(socket, trust.bundles, trust.now())
    if (!(peer instanceof PeerFault)) {
      const continuesUntil = () => trust.continuesUntil?.(peer) ?? 0
      watchExpiry(socket, peer.expiresAt, trust, continuesUntil)
    } else if (trust.requestPeer === 'required') socket.destroy()
  })
}

/** Gives a listener a new certificate; connections that stand keep theirs, none is dropped. */
export function rotateServer(server: Server, options: TlsOptions): void {
  server.setSecureContext(options)
}

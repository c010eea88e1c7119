import type { AddressInfo } from 'node:net'
import {
  type ConnectionOptions,
  connect,
  createServer,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import {
  answerPlainHttp,
  guardPeers,
  PeerFault,
  peerIdentity,
  serverTlsOptions,
  TrustBundles,
  toPem,
} from '@countersign/protocol/tls'
import { type Forged, forge, forgeDomain, forgedAt } from './tls-forge.ts'

/**
 * A listener of ours with one honest domain, and a client that may send anything that Node lets it.
 */
export interface Lab {
  readonly root: Forged
  readonly intermediate: Forged
  readonly bundles: TrustBundles
  readonly port: number
  /** Moves the clock of the listener. */
  advance(ms: number): void
  /**
   * Connects once; `heard` is the listener's result for the peer, null when it never got so far.
   */
  attempt(client?: Attempt): Promise<Verdict>
  close(): void
}

export interface Attempt {
  readonly credential?: Forged
  readonly session?: Buffer | undefined
  readonly options?: ConnectionOptions
}

export interface Verdict {
  /** True when the listener let the client go on. */
  readonly accepted: boolean
  /** The code of a fault, or the SPIFFE ID. */
  readonly heard: string | null
  readonly resumed: boolean
  /** The result of Node's own check. */
  readonly authorizedByNode: boolean | null
  readonly session: Buffer | undefined
}

/** `listener` changes the options of our listener, to show what the rules hold without them. */
export async function openLab(listener: TlsOptions = {}): Promise<Lab> {
  const { root, intermediate } = forgeDomain()
  const bundles = new TrustBundles()
  bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
  let now = forgedAt
  const own = forge({ issuer: intermediate, uris: ['spiffe://a.test/fabric/gateway'] })
  const server = createServer({
    ...serverTlsOptions({ ...own, requestPeer: 'required' }),
    ...listener,
  })
  guardPeers(server, { bundles, now: () => now, requestPeer: 'required' })
  let seen: Pick<Verdict, 'heard' | 'authorizedByNode'> = { heard: null, authorizedByNode: null }
  // Before the guard, which destroys what it refuses; it listens too, so both see every peer.
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const peer = peerIdentity(socket, bundles, now)
    const heard = peer instanceof PeerFault ? peer.code : peer.spiffeId
    seen = { heard, authorizedByNode: socket.authorized }
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => undefined)
    if (!socket.destroyed) socket.write('welcome')
    socket.on('data', () => socket.end())
  })
  answerPlainHttp(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    root,
    intermediate,
    bundles,
    port,
    advance: (ms) => {
      now += ms
    },
    attempt: async (client = {}) => {
      seen = { heard: null, authorizedByNode: null }
      const met = await meet(port, client)
      return { ...met, ...seen }
    },
    close: () => server.close(),
  }
}

/**
 * Resolves when the connection is over; with TLS 1.3 a client receives a refusal only afterwards.
 */
function meet(
  port: number,
  { credential, session, options }: Attempt,
): Promise<Pick<Verdict, 'accepted' | 'resumed' | 'session'>> {
  return new Promise((resolve) => {
    let accepted = false
    let resumed = false
    let ticket: Buffer | undefined
    const socket = connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ...(credential === undefined ? {} : pemOf(credential)),
      ...(session === undefined ? {} : { session }),
      ...options,
    })
    socket.on('session', (fresh) => {
      ticket = fresh
    })
    socket.on('secureConnect', () => {
      resumed = socket.isSessionReused()
    })
    socket.on('data', () => {
      accepted = true
      socket.write('bye')
    })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve({ accepted, resumed, session: ticket }))
  })
}

export function pemOf(credential: Forged): { cert: string; key: string } {
  return {
    cert: credential.certificateChain.map((each) => toPem(each)).join(''),
    key: credential.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

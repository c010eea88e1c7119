import type { PeerTrust, TlsCredential } from '@countersign/protocol/tls'
import type { KeySigner } from '../http/forward-signature.ts'

/** The parts of the enrolled agent that its connector needs. */
export interface ConnectorAgent {
  readonly name: string
  readonly spiffeId: string
  readonly trustDomain: string
  readonly trust: PeerTrust
  /** The agent's own signing key: it signs requests out and countersigns responses in. */
  readonly signer: KeySigner
  credential(): TlsCredential
  onRotate(listener: (credential: TlsCredential) => void): () => void
  /** A request to the fabric over mutual TLS. Rejects when the fabric cannot be reached. */
  request(order: FabricOrder): Promise<FabricAnswer>
}

export interface FabricOrder {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body: Uint8Array | null
  /** Of the body; JSON unless stated otherwise. */
  readonly contentType?: string
  readonly signal: AbortSignal | null
}

export interface FabricAnswer {
  readonly status: number
  readonly body: Uint8Array
}

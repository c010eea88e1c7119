import { parseSpiffeId } from '@countersign/protocol'
import {
  PeerFault,
  type PeerFaultCode,
  peerIdentity,
  type TrustBundles,
} from '@countersign/protocol/tls'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Authenticator } from './caller.ts'
import type { Directory } from './directory.ts'
import { generationOf } from './enrolment-generation.ts'
import type { Newcomers } from './newcomers.ts'
import { callerOf } from './standing.ts'

/** The caller is the agent or user whose X509-SVID the TLS peer showed. */
export function authenticateByCertificate(room: {
  readonly trustDomain: string
  readonly bundles: TrustBundles
  readonly directory: Directory
  readonly clock: Clock
  /** Where the directory is a copy, which can be behind. */
  readonly newcomers?: Newcomers
}): Authenticator {
  return async ({ certificateChain }) => {
    if (certificateChain === null) return null
    const peer = peerIdentity(certificateChain, room.bundles, room.clock.now())
    if (peer instanceof PeerFault) return new Refusal(refusalOfFault(peer.code), faultText(peer))
    const id = parseSpiffeId(peer.spiffeId)
    // A name of another domain must not find our agent of the same name.
    if (id?.trustDomain !== room.trustDomain) {
      return new Refusal('CREDENTIAL_REJECTED', `${peer.spiffeId} is of another trust domain`)
    }
    const generation = generationOf(peer.serialNumber)
    const arrival = room.newcomers?.(id.name, generation)
    if (arrival !== undefined && arrival !== null) await arrival
    const record = room.directory.find(id.name)
    if (record?.kind !== id.kind) {
      return new Refusal('CREDENTIAL_REJECTED', `${peer.spiffeId} is not in the directory`)
    }
    return callerOf(record, {
      spiffeId: peer.spiffeId,
      method: 'certificate',
      credentialId: peer.fingerprint,
      scopes: null,
      expiresAt: peer.expiresAt,
      generation,
    })
  }
}

function refusalOfFault(code: PeerFaultCode): 'CREDENTIAL_EXPIRED' | 'CREDENTIAL_REJECTED' {
  return code === 'CERTIFICATE_EXPIRED' ? 'CREDENTIAL_EXPIRED' : 'CREDENTIAL_REJECTED'
}

function faultText({ code, detail }: PeerFault): string {
  return `${code}: ${detail}`
}

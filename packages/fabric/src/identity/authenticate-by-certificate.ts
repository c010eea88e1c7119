import { parseSpiffeId, type SpiffeId } from '@countersign/protocol'
import {
  PeerFault,
  type PeerFaultCode,
  type PeerIdentity,
  peerIdentity,
  type TrustBundles,
} from '@countersign/protocol/tls'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Authentication, Authenticator, Caller } from './caller.ts'
import type { Directory } from './directory.ts'
import { generationOf } from './enrolment-generation.ts'
import { isUnheard, type Newcomers } from './newcomers.ts'
import { principalOfRecord } from './principals.ts'
import { callerOf } from './status.ts'

/** For who has to wait for news of its own enrolment longer than a request can. */
const retryAfterMs = 1000

/** The caller is the agent or user whose X509-SVID the TLS peer showed. */
export function authenticateByCertificate(deps: {
  readonly trustDomain: string
  readonly bundles: TrustBundles
  readonly directory: Directory
  readonly clock: Clock
  /** Given if another process can have enrolled an agent that the directory does not have yet. */
  readonly newcomers?: Newcomers
  /** The directory is a copy, which can be behind also after `newcomers`. */
  readonly isCopy?: boolean
}): Authenticator<Authentication> {
  return ({ certificateChain }) => {
    if (certificateChain === null) return null
    const peer = peerIdentity(certificateChain, deps.bundles, deps.clock.now())
    if (peer instanceof PeerFault) return new Refusal(refusalOfFault(peer.code), faultText(peer))
    const { id, generation } = namedBy(peer)
    // A name of another domain must not find our agent of the same name.
    if (id?.trustDomain !== deps.trustDomain) {
      return new Refusal('CREDENTIAL_REJECTED', `${peer.spiffeId} is of another trust domain`)
    }
    const { kind, name } = id
    // The authority signed the number of the enrolment, so a copy that lacks it does not prove
    // anything against its holder.
    const isBehind = deps.isCopy === true && generation > 0
    const find = (): Caller | Refusal => {
      const record = deps.directory.find(name)
      if (isBehind && isUnheard(record, generation)) {
        const detail = `this copy of the directory is older than enrolment ${generation} of ${name}`
        return new Refusal('UNDECIDED', detail, retryAfterMs, { byOthers: true })
      }
      if (record?.kind !== kind) {
        return new Refusal('CREDENTIAL_REJECTED', `${peer.spiffeId} is not in the directory`)
      }
      return callerOf(record, {
        principal: principalOfRecord(record, deps.trustDomain),
        method: 'certificate',
        credentialId: peer.fingerprint,
        scopes: null,
        expiresAt: peer.expiresAt,
        generation,
      })
    }
    const unchecked = deps.newcomers?.(name, generation) ?? null
    return unchecked === null ? find() : unchecked.then(find)
  }
}

interface Named {
  readonly id: SpiffeId | null
  readonly generation: number
}

/** The holder's data in a certificate is parsed once: bundles give the same object for it. */
const named = new WeakMap<PeerIdentity, Named>()

function namedBy(peer: PeerIdentity): Named {
  const known = named.get(peer)
  if (known !== undefined) return known
  const id = parseSpiffeId(peer.spiffeId)
  const made = { id, generation: generationOf(peer.serialNumber) }
  named.set(peer, made)
  return made
}

function refusalOfFault(code: PeerFaultCode): 'CREDENTIAL_EXPIRED' | 'CREDENTIAL_REJECTED' {
  return code === 'CERTIFICATE_EXPIRED' ? 'CREDENTIAL_EXPIRED' : 'CREDENTIAL_REJECTED'
}

function faultText({ code, detail }: PeerFault): string {
  return `${code}: ${detail}`
}

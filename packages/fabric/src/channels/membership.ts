import { createPublicKey, type KeyObject } from 'node:crypto'
import { toBase64Url } from '@countersign/protocol'
import type { AgentRecord } from '../identity/directory.ts'
import { Refusal } from '../lib/refusal.ts'
import type { ChannelAuthority } from './channel-authority.ts'
import type { ChannelRecord } from './channel-records.ts'
import type { ChannelCall } from './leasing.ts'
import type { Publisher } from './publish-check.ts'

/** Parsed signing keys; all are forgotten at once when there are more. */
const keyCacheMax = 4096

/** An authenticated caller, and the channel that it addressed. */
export type Participant = Pick<ChannelCall, 'channel' | 'caller'>

export interface ChannelMember {
  readonly channel: ChannelRecord
  readonly publisher: Publisher
}

interface MembershipOptions {
  readonly authority: Pick<ChannelAuthority, 'find'>
  readonly findAgent: (name: string) => AgentRecord | null
  /** The refusal of every operation where another process serves the channels. */
  readonly elsewhere?: () => Refusal | null
}

/** The parts that agents have in channels at this moment. */
export class Membership {
  readonly #options: MembershipOptions
  readonly #keys = new Map<string, KeyObject>()

  constructor(options: MembershipOptions) {
    this.#options = options
  }

  /** Membership applies in addition to policy, not after it: both have to permit the call. */
  requireMember(call: ChannelCall): ChannelMember | Refusal {
    return call.still() ?? this.memberOf(call)
  }

  memberOf({ channel: name, caller }: Participant): ChannelMember | Refusal {
    const elsewhere = this.#options.elsewhere?.() ?? null
    if (elsewhere !== null) return elsewhere
    const channel = this.#options.authority.find(name)
    if (channel === null) return new Refusal('RECEIVER_UNKNOWN', `channel ${name}`)
    const agent = this.#options.findAgent(caller)
    if (!channel.members.includes(caller) || agent?.status !== 'active' || agent.keys === null) {
      return new Refusal('NOT_PERMITTED', `${caller} has no part in ${name}`)
    }
    const { keyId, publicKey } = agent.keys.signing
    return {
      channel,
      publisher: { name: caller, signingKeyId: keyId, signingKey: this.#keyOf(publicKey) },
    }
  }

  #keyOf(raw: Uint8Array): KeyObject {
    const x = toBase64Url(raw)
    const known = this.#keys.get(x)
    if (known !== undefined) return known
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    if (this.#keys.size >= keyCacheMax) this.#keys.clear()
    this.#keys.set(x, key)
    return key
  }
}

import type { AgentRecord } from '../identity/directory.ts'
import { principalOfRecord } from '../identity/principals.ts'
import type { PolicySet } from '../policy/policy.ts'
import { type AuthorizeDeps, sealedMayPass } from './authorize.ts'
import { principalOf, proofs } from './recheck.ts'

/** One message of a channel, as its sender signed it and the channel stored it. */
export interface SentMessage {
  readonly channel: string
  readonly sender: string
  readonly labels: readonly string[]
  /**
   * Unix milliseconds: a policy that depends on the time is asked about the time of publication.
   */
  readonly storedAt: number
}

/**
 * `stands`: the sender may publish it. `held`: not at present, as in quarantine or by policy; it
 * waits for the right to come back. `ended`: its sender was revoked, which is for good.
 */
export type SenderRight = 'stands' | 'held' | 'ended'

type SenderRightDeps = Pick<
  AuthorizeDeps,
  'policy' | 'riskOf' | 'findReceiver' | 'findMember' | 'trustDomain' | 'now'
>

/** Answers that are kept: those of one set of policies. */
const knownMax = 4_096

const published = {
  transport: 'queue',
  protocol: 'queue',
  operation: 'publish',
  tool: '',
} as const

/**
 * Asks again whether the sender of a stored message may publish it, when it is handed out: what a
 * channel holds can be much older than the decision by which it was taken in.
 */
export class SenderRights {
  readonly #deps: SenderRightDeps
  #policy: PolicySet | null = null
  readonly #known = new Map<string, { readonly record: AgentRecord; readonly right: SenderRight }>()

  constructor(deps: SenderRightDeps) {
    this.#deps = deps
  }

  /** Returns the right of the sender; `held` if it cannot be decided. */
  of(message: SentMessage): SenderRight {
    try {
      const record = this.#deps.findMember(message.sender)
      if (record?.status === 'revoked') return 'ended'
      return record?.status === 'active' ? this.#byPolicy(message, record) : 'held'
    } catch {
      return 'held'
    }
  }

  #byPolicy(message: SentMessage, record: AgentRecord): SenderRight {
    const policy = this.#deps.policy()
    if (policy !== this.#policy) this.#known.clear()
    this.#policy = policy
    const principal = principalOfRecord(record, this.#deps.trustDomain)
    const risk = this.#deps.riskOf(principal, this.#deps.now())
    const time = Math.floor(message.storedAt / 1000)
    const { channel, labels, sender } = message
    const key = JSON.stringify([channel, sender, labels, risk, time])
    const known = this.#known.get(key)
    // A record is replaced as a whole, so that another one is another object.
    if (known?.record === record) return known.right
    const right = this.#decide(policy, message, { record, risk, time }) ? 'stands' : 'held'
    if (this.#known.size >= knownMax) this.#known.clear()
    this.#known.set(key, { record, right })
    return right
  }

  #decide(
    policy: PolicySet,
    { channel, labels }: SentMessage,
    { record, risk, time }: { record: AgentRecord; risk: number; time: number },
  ): boolean {
    const resource = this.#deps.findReceiver('channel', channel)
    if (resource === null) return false
    const principal = principalOf(record)
    return proofs.some((proof) => {
      const decision = policy.decide({
        ...{ principal, action: 'publish', resource },
        context: { ...published, ...proof, risk, labels, time },
      })
      return sealedMayPass(decision, labels, proof.signed)
    })
  }
}

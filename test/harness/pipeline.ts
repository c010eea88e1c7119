import { parseUtf8, utf8 } from '@countersign/protocol'
import type { Caller } from '../../packages/fabric/src/identity/caller.ts'
import type { AgentRecord } from '../../packages/fabric/src/identity/directory.ts'
import type { EntryDraft } from '../../packages/fabric/src/ledger/ledger.ts'
import type { Refusal } from '../../packages/fabric/src/lib/refusal.ts'
import type { Delivered, Forwarder } from '../../packages/fabric/src/pipeline/delivery.ts'
import {
  enforce,
  type Outcome,
  type PipelineDeps,
} from '../../packages/fabric/src/pipeline/enforce.ts'
import type { UncheckedRequest } from '../../packages/fabric/src/pipeline/unchecked-request.ts'
import type { Decision, Obligations } from '../../packages/fabric/src/policy/policy.ts'

export const caller: Caller = {
  principal: 'spiffe://a.test/agent/support',
  kind: 'agent',
  name: 'support',
  method: 'certificate',
  credentialId: 'c1',
  roles: [],
  segment: '',
  attributes: {},
  scopes: null,
  expiresAt: 10_000,
}

export const unchecked: UncheckedRequest = {
  id: 'exc_a_00000000000070008000000000000000',
  at: 1_000,
  transport: 'gateway',
  presented: { certificateChain: [], bearer: null, apiKey: null },
  head: null,
  fault: null,
  signature: null,
  target: {
    kind: 'agent',
    name: 'billing',
    action: 'call',
    protocol: 'http',
    operation: 'POST',
    tool: '',
    labels: [],
  },
  received: {
    method: 'POST',
    path: '/',
    headers: [],
    contentType: 'text/plain',
    body: utf8('card 4111'),
  },
}

export const noObligations: Obligations = {
  mask: [],
  block: [],
  signedRequest: false,
  signedResponse: false,
  assurance: 'durable',
  approval: null,
}

export const permit: Decision = {
  effect: 'permit',
  policies: ['p'],
  errors: [],
  obligations: noObligations,
}
export const deny: Decision = { ...permit, effect: 'deny', policies: [] }

/**
 * Records the events in order: entries as they became durable, and `deliver` when the forwarder
 * ran.
 */
export class PipelineWorld {
  readonly events: string[] = []
  readonly entries: EntryDraft[] = []
  decision = permit
  now = 1_000
  canRecord = true
  status: AgentRecord['status'] = 'active'
  identify: () => Promise<Caller | Refusal | null> = () => Promise.resolve(caller)
  ledgerFails: (draft: EntryDraft) => boolean = () => false
  readonly #listeners = new Set<() => void>()

  change(): void {
    for (const listener of this.#listeners) listener()
  }

  deps(): PipelineDeps {
    return {
      authenticators: [() => this.identify()],
      signatures: {
        checkRequest: () => Promise.resolve(null),
        checkResponse: () => null,
        findPublicKey: () => null,
      },
      authorization: {
        policy: () => ({ version: 'v', decide: () => this.decision }),
        riskOf: () => 0,
        findReceiver: (kind, name) => ({ kind, name, roles: [], segment: '', attributes: {} }),
        canRecord: () => this.canRecord,
        findPrincipal: () => ({ ...record, status: this.status }),
        findMember: () => ({ ...record, status: this.status }),
        trustDomain: 'a.test',
        limits: {
          spend: () => Promise.resolve({ limit: 9, remaining: 8, resetMs: 1, exhausted: false }),
        },
        now: () => this.now,
      },
      redactor: {
        redact: (body, _, { mask }) =>
          mask.length === 0
            ? { body, findings: [] }
            : { body: utf8(parseUtf8(body).replace(/4\d+/, '[CARD]')), findings: [] },
      },
      trustDomain: 'a.test',
      standing: {
        onChange: (listener) => {
          this.#listeners.add(listener)
          return () => this.#listeners.delete(listener)
        },
      },
      now: () => this.now,
      append: async (draft) => {
        await Promise.resolve()
        if (this.ledgerFails(draft)) throw new Error('disk full')
        this.events.push(draft.kind)
        this.entries.push(draft)
        const { exchange, kind } = draft
        return { exchange, kind, index: this.entries.length, leafHash: new Uint8Array(32) }
      },
    }
  }

  readonly forwarder: Forwarder = (intended) => {
    this.events.push(`deliver ${parseUtf8(intended.forwardable.body)}`)
    return Promise.resolve(this.answer)
  }

  answer: Delivered | Refusal = delivered(utf8('ok 4222'))

  enforce(given: UncheckedRequest = unchecked): Promise<Outcome> {
    return enforce(this.deps(), given, this.forwarder)
  }
}

const record: AgentRecord = {
  name: 'support',
  kind: 'agent',
  roles: [],
  segment: '',
  attributes: {},
  status: 'active',
  statusReason: '',
  keys: null,
  createdAt: 0,
  generation: 0,
}

export function delivered(body: Delivered['body']): Delivered {
  const contentType = 'text/plain'
  return { status: 200, headers: [], contentType, body, countersignature: null, facts: {} }
}

import {
  formatNote,
  type NoteSignature,
  noteSignaturesMax,
  parseNote,
  verifyNote,
} from '@countersign/protocol'
import { setDeadline } from '../lib/clock.ts'
import type { SyncedHead } from './synced-heads.ts'

/** A party that cosigns the checkpoints of this log (C2SP tlog-cosignature). */
export interface Witness {
  /** Its public key, as a C2SP vkey. */
  readonly vkey: string
  /** The line of its cosignature. May reject, or never settle; `signal` ends the wait for it. */
  cosign(head: SyncedHead, signal: AbortSignal): Promise<NoteSignature>
}

/** The cosignatures that a checkpoint waits for before it is published. */
export interface CosignPolicy {
  /** At most 15: a note has 16 lines, and the first is that of the log. */
  readonly witnesses: readonly Witness[]
  /** So many of them are enough. */
  readonly quorum: number
  /** Then the checkpoint is published with those that it has. Milliseconds, at most 10,000. */
  readonly waitMs: number
}

export const noCosigning: CosignPolicy = { witnesses: [], quorum: 0, waitMs: 0 }

const waitMsMax = 10_000

/**
 * The stage between a synced and a published checkpoint: waits until the quorum cosigned it, or its
 * time is over, and never rejects. Without witnesses, every head passes at once.
 */
export class Cosigning {
  readonly #policy: CosignPolicy

  /** Throws a RangeError on a policy that no checkpoint can meet. */
  constructor(policy: CosignPolicy) {
    const { witnesses, quorum, waitMs } = policy
    if (witnesses.length >= noteSignaturesMax) throw new RangeError('there are too many witnesses')
    // Two objects of one witness would be a quorum of one.
    const keys = new Set(witnesses.map(({ vkey }) => vkey))
    if (keys.size < witnesses.length) throw new RangeError('a witness is named twice')
    if (quorum > witnesses.length) throw new RangeError('the quorum exceeds the witnesses')
    if (!(waitMs <= waitMsMax)) throw new RangeError('the wait for cosignatures is too long')
    this.#policy = policy
  }

  /** The head with the cosignatures that came in time, in the order of the policy. */
  async pass(head: SyncedHead): Promise<SyncedHead> {
    const { witnesses } = this.#policy
    if (witnesses.length === 0) return head
    const lines = await this.#collect(head)
    const { text, signatures } = parseNote(head.checkpoint)
    const cosigned = witnesses.flatMap((witness) => lines.get(witness) ?? [])
    return { ...head, checkpoint: formatNote(text, [...signatures, ...cosigned]) }
  }

  #collect(head: SyncedHead): Promise<ReadonlyMap<Witness, NoteSignature>> {
    const { witnesses, quorum, waitMs } = this.#policy
    const lines = new Map<Witness, NoteSignature>()
    const ended = new AbortController()
    return new Promise((resolve) => {
      const end = () => {
        cancel()
        ended.abort()
        resolve(new Map(lines))
      }
      const cancel = setDeadline(waitMs, end)
      const asked = witnesses.map(async (witness) => {
        const line = await witness.cosign(head, ended.signal)
        if (!(await isCosignature(head, line, witness.vkey))) return
        lines.set(witness, line)
        if (lines.size >= quorum) end()
      })
      void Promise.allSettled(asked).then(end)
    })
  }
}

/**
 * A line of another key, or over another text, would spoil the note for those who know the key. One
 * under the name of the log would spoil every receipt: no other line has it.
 */
async function isCosignature(
  { checkpoint }: SyncedHead,
  line: NoteSignature,
  vkey: string,
): Promise<boolean> {
  const { text, signatures } = parseNote(checkpoint)
  if (signatures.some(({ name }) => name === line.name)) return false
  return verifyNote(formatNote(text, [line]), vkey)
}

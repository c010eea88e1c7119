import { setTimeout } from 'node:timers/promises'
import { createId, isId, type Principal } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import type { Clock } from '../lib/clock.ts'
import { overLimit } from '../lib/limits.ts'
import type { Random } from '../lib/random.ts'
import { Refusal } from '../lib/refusal.ts'
import type { RecordStore } from '../state/record-store.ts'
import { type ApprovalQuestion, isSameQuestion } from './approval-question.ts'
import {
  type ApprovalDecision,
  type ApprovalRecord,
  approverFault,
  consumed,
  DECISION_MS,
  decided,
  held,
  heldUntil,
  isSameDecision,
  principalText,
  withdrawn,
} from './approval-record.ts'
import { approvalRefusal } from './approval-refusal.ts'
import { ApprovalRows } from './approval-rows.ts'

/**
 * Requests that wait for a person: in all, at one receiver, and of one caller at one receiver. Of
 * the first two, a party gets at most as many as are left for others, and of the third a user on
 * whose behalf the caller acts. A request of a connector counts on its agent, which names the
 * callers.
 */
export const APPROVALS_PENDING_MAX = 1_000
export const APPROVALS_PENDING_PER_RECEIVER_MAX = 250
export const APPROVALS_PENDING_PER_CALLER_MAX = 32
/** A compare-and-set is lost only if another one was won, which ends the contest soon. */
const attemptsMax = 8
/** Before a request that another decision holds is read again. */
const heldPauseMs = 250
/**
 * Requests are counted anew after this. A caller beyond its bound must not cost a reading of all
 * requests each time.
 */
const countedMs = 1_000

/** The action for which an exchange needs an approval. */
export interface ApprovalRequest extends ApprovalQuestion, Pick<ApprovalRecord, 'askedBy'> {
  readonly exchange: string
}

/** An approval that this exchange alone has used. */
export interface UsedApproval {
  readonly id: string
  /** The approver's SPIFFE ID. */
  readonly approver: string
  readonly digest: string
}

/** A use that another party states, with the two ends of its exchange as SPIFFE IDs. */
export interface StatedUse extends UsedApproval {
  readonly exchange: string
  readonly caller: string
  readonly receiver: string
}

export interface ApprovalsOptions {
  readonly records: RecordStore
  readonly clock: Pick<Clock, 'now'>
  readonly random: Random
  /** Of a request, until a person has decided. */
  readonly pendingMs: number
  /** As `StateStore.history`: an approval of another one may have been used, which was lost. */
  history(): string
  /** Reports whether a principal is active now. */
  isActive(principal: Principal): boolean
  /** Puts a decision on record. Resolves to a refusal if it cannot; it may be on record then. */
  record(decision: RecordedDecision): Promise<Refusal | null>
  /** Called once for each new request; must not throw and is not awaited. */
  notify?(record: ApprovalRecord): void
  /** `setTimeout`, except in tests. */
  pause?(ms: number): Promise<unknown>
}

export interface RecordedDecision {
  readonly id: string
  readonly digest: string
  /** `withdrawn`: the decision of this exchange may be on record, and did not take effect. */
  readonly verdict: ApprovalDecision['verdict'] | 'withdrawn'
  readonly approver: string
  readonly note: string
  /** The exchange by which the approver decided. */
  readonly exchange: string
}

/** A principal that decides, and the exchange in which it does. */
export interface Approver {
  readonly caller: Principal
  readonly user: Principal | null
  readonly exchange: string
}

/** The record after a decision, and whether this decision changed it. */
export interface Decided {
  readonly record: ApprovalRecord
  readonly taken: boolean
}

/** Requests for approvals, the decisions on them, and their one use. */
export class Approvals {
  readonly #options: ApprovalsOptions
  readonly #rows: ApprovalRows
  /** Requests are made one after another, so that the bounds hold and a race makes one request. */
  readonly #requests = new Serializer()
  /** The parties of each request that waits. */
  #counted: { readonly until: number; readonly ends: Ends[] } | null = null

  constructor(options: ApprovalsOptions) {
    this.#options = options
    this.#rows = new ApprovalRows(options.records)
  }

  /**
   * Uses the approval of exactly this action, or refuses: `APPROVAL_PENDING` while a person has to
   * decide, `APPROVAL_DENIED` once one has refused it. To be called directly before the intent. A
   * crash after it leaves an approval that is used and an exchange without an intent, so that the
   * action needs another approval and is never carried out twice.
   */
  async claim(request: ApprovalRequest): Promise<UsedApproval | Refusal> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const found = await this.#find(request)
      const record = found?.record ?? null
      if (record === null || !this.#isOpen(record)) {
        const made = await this.#requests.run(() => this.#request(request))
        if (made !== null) return made
        continue
      }
      if (record.state === 'denied') return approvalRefusal('denied', record)
      if (record.state === 'pending') {
        // A refusal of the ledger changes nothing for the caller: the action waits.
        if (this.#isOverdue(record)) await this.#withdraw(record)
        return approvalRefusal('pending', record)
      }
      const used = consumed(record, { exchange: request.exchange, at: this.#now() })
      const approver = record.approver
      if (used === null || approver === null) continue
      // One of two racing repeats wins here; the other reads `consumed` and asks anew.
      // The write itself may have led to a server that has lost an earlier use.
      if ((await this.#replace(record, used)) && this.#isPresent(record)) {
        return { id: record.id, approver: principalText(approver), digest: record.digest }
      }
    }
    return new Refusal('UNDECIDED', 'the approval changed too often while it was read')
  }

  /**
   * Decides for a person. The decision holds the request, is recorded, and takes effect, in this
   * order: of several at once, one is on record. After a crash in between, the next use of the
   * request records that the decision was withdrawn.
   */
  async decide(
    id: string,
    { caller, user, exchange }: Approver,
    { verdict, note }: Pick<ApprovalDecision, 'verdict' | 'note'>,
  ): Promise<Decided | Refusal> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const record = await this.find(id)
      if (record === null) return unknownApproval(id)
      const fault = approverFault(record, { caller, user })
      if (fault !== null) return new Refusal('NOT_PERMITTED', fault)
      if (record.held !== null) {
        const failed = await this.#endHold(record)
        if (failed !== null) return failed
        continue
      }
      const at = this.#now()
      const history = this.#options.history()
      const holding = held(record, { approver: caller, user, verdict, note, at, exchange, history })
      if (holding === null) return { record, taken: false }
      if (!(await this.#replace(record, holding))) continue
      return this.#carryOut(holding)
    }
    return undecided()
  }

  /** An exchange decides once, so that the entry of its withdrawal stays true, however late. */
  async #carryOut(holding: ApprovalRecord): Promise<Decided | Refusal> {
    const unrecorded = await this.#record(holding, null)
    if (unrecorded !== null) {
      // It may be on record all the same: the next use of the request withdraws it.
      await this.#replace(holding, heldUntil(holding, this.#now()))
      return unrecorded
    }
    const next = decided(holding)
    const isReplaced = await this.#replace(holding, next)
    const record = isReplaced ? next : await this.#rows.find(holding.id)
    if (record !== null && isSameDecision(record, next)) {
      this.#counted = null
      return { record, taken: true }
    }
    // Another approver has withdrawn it, before its entry perhaps, or the store has lost the row.
    const uncorrected = await this.#record(holding, 'withdrawn')
    if (uncorrected !== null) return uncorrected
    if (record === null) return unknownApproval(holding.id)
    return record.state === 'pending' ? undecided() : { record, taken: false }
  }

  /** Waits for the decision that holds the record, or withdraws one that is overdue. */
  async #endHold(record: ApprovalRecord): Promise<Refusal | null> {
    if (this.#isOverdue(record)) return this.#withdraw(record)
    await (this.#options.pause ?? setTimeout)(heldPauseMs)
    return null
  }

  #isOverdue({ held: hold }: ApprovalRecord): boolean {
    return hold !== null && this.#now() >= hold.until
  }

  async #withdraw(record: ApprovalRecord): Promise<Refusal | null> {
    // First, the process that decided loses its hold: it could succeed after the entry otherwise.
    const taken = heldUntil(record, this.#now() + DECISION_MS)
    if (!(await this.#replace(record, taken))) return null
    const unrecorded = await this.#record(taken, 'withdrawn')
    const next = unrecorded === null ? withdrawn(taken) : heldUntil(taken, this.#now())
    await this.#replace(taken, next)
    return unrecorded
  }

  /** Records the decision that holds the record, or that it was withdrawn. */
  async #record({ id, digest, held: hold }: ApprovalRecord, withdrawal: 'withdrawn' | null) {
    if (hold === null) return null
    const { approver, note, exchange } = hold
    const verdict = withdrawal ?? hold.verdict
    const by = { approver: principalText(approver), exchange }
    return this.#options.record({ id, digest, verdict, note, ...by })
  }

  /** The record of that id; null if there is none or it has ended. */
  async find(id: string): Promise<ApprovalRecord | null> {
    if (!isId('apr', id)) return null
    const record = await this.#rows.find(id)
    return record !== null && this.#now() < record.expiresAt ? record : null
  }

  /** All that have not ended, the oldest first. */
  async list(): Promise<readonly ApprovalRecord[]> {
    const now = this.#now()
    return (await this.#rows.list()).filter(({ expiresAt }) => now < expiresAt)
  }

  /** Reports whether exactly this exchange has used exactly this approval. */
  async isUsedBy(stated: StatedUse): Promise<boolean> {
    const record = await this.find(stated.id)
    if (record?.state !== 'consumed' || record.approver === null) return false
    const isSame = record.digest === stated.digest && record.consumedBy === stated.exchange
    const ends = [record.approver, record.caller, record.receiver].map(principalText)
    const isOfThese = [stated.approver, stated.caller, stated.receiver].every(
      (each, at) => each === ends[at],
    )
    return isSame && isOfThese
  }

  /** Null if another request was first, so that the caller looks again. */
  async #request(request: ApprovalRequest): Promise<Refusal | null> {
    const found = await this.#find(request)
    if (found?.record !== null && found !== null && this.#isOpen(found.record)) return null
    const full = await this.#findFull(request)
    if (full !== null) return full
    const at = this.#now()
    const { exchange, ...asked } = request
    const record: ApprovalRecord = {
      ...asked,
      id: createId('apr', at, this.#options.random(10)),
      requestedBy: exchange,
      requestedAt: at,
      expiresAt: at + this.#options.pendingMs,
      state: 'pending',
      ...{
        held: null,
        approver: null,
        approverUser: null,
        decidedAt: null,
        note: '',
        history: '',
        consumedBy: null,
      },
    }
    if (!(await this.#rows.add(record, found?.reference ?? null, at))) return null
    this.#counted?.ends.push(endsOf(record))
    this.#options.notify?.(record)
    return approvalRefusal('pending', record)
  }

  async #findFull(request: ApprovalRequest): Promise<Refusal | null> {
    const now = this.#now()
    if (this.#counted === null || now >= this.#counted.until) {
      const waiting = (await this.list()).filter(({ state }) => state === 'pending')
      this.#counted = { until: now + countedMs, ends: waiting.map(endsOf) }
    }
    const { ends } = this.#counted
    const { caller, user, receiver, asker } = endsOf(request)
    const atReceiver = ends.filter((each) => each.receiver === receiver)
    const own = (of: readonly Ends[]) => of.filter((each) => each.asker === asker).length
    const ofCaller = atReceiver.filter((each) => each.caller === caller)
    // A caller that acts for itself takes nothing from another principal.
    const ofUser = user === null ? [] : ofCaller.filter((each) => each.user === user)
    const callerMax = APPROVALS_PENDING_PER_CALLER_MAX
    const receiverMax = APPROVALS_PENDING_PER_RECEIVER_MAX
    const bounds = [
      ['approvals.pendingPerCaller', ofUser.length + ofCaller.length, callerMax],
      ['approvals.pendingPerReceiver', own(atReceiver) + atReceiver.length, receiverMax],
      ['approvals.pending', own(ends) + ends.length, APPROVALS_PENDING_MAX],
    ] as const
    const over = bounds.find(([, count, max]) => count >= max)
    if (over === undefined) return null
    const [name, , value] = over
    return overLimit('OVERLOADED', { name, value, unit: 'count' }, 'requests wait for an approval')
  }

  /** Throws on a row that is not an answer to the question: what cannot be read permits nothing. */
  async #find(question: ApprovalQuestion) {
    const reference = await this.#rows.findId(question)
    if (reference === null) return null
    const record = await this.find(reference)
    if (record !== null && !isSameQuestion(record, question)) {
      throw new TypeError(`the stored approval ${reference} is of another question`)
    }
    return { reference, record }
  }

  /**
   * Reports whether a record still answers its question. One that is used does not, nor one that
   * was approved before a failover, or by a principal that has lost its status since, or on behalf
   * of one.
   */
  #isOpen(record: ApprovalRecord): boolean {
    const { state, approver, approverUser } = record
    if (state === 'consumed') return false
    if (state !== 'approved') return true
    const deciding = approverUser === null ? [approver] : [approver, approverUser]
    const isActive = deciding.every((each) => each !== null && this.#options.isActive(each))
    return isActive && this.#isPresent(record)
  }

  #isPresent({ history }: ApprovalRecord): boolean {
    return history === this.#options.history()
  }

  #replace(record: ApprovalRecord, next: ApprovalRecord): Promise<boolean> {
    return this.#rows.replace(record, next, this.#now())
  }

  #now(): number {
    return this.#options.clock.now()
  }
}

interface Ends {
  readonly asker: string
  readonly caller: string
  readonly user: string | null
  readonly receiver: string
}

const endsOf = ({
  askedBy,
  caller,
  user,
  receiver,
}: Pick<ApprovalRecord, 'askedBy' | 'caller' | 'user' | 'receiver'>): Ends => ({
  asker: principalText(askedBy),
  caller: principalText(caller),
  user: user === null ? null : principalText(user),
  receiver: principalText(receiver),
})

function undecided(): Refusal {
  return new Refusal('UNDECIDED', 'another decision on it is being recorded; look again')
}

export function unknownApproval(id: string): Refusal {
  return new Refusal('RECEIVER_UNKNOWN', `no approval ${id} waits or was decided lately`)
}

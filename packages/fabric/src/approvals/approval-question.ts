import { principalKey, toHex, utf8 } from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'
import type { ApprovalRecord } from './approval-record.ts'

/** Everything that an approver decides by: who asks whom for what, and why it needs an approval. */
export type ApprovalQuestion = Pick<
  ApprovalRecord,
  | 'digest'
  | 'caller'
  | 'user'
  | 'receiver'
  | 'protocol'
  | 'operation'
  | 'tool'
  | 'parameters'
  | 'reason'
>

/**
 * The key of a question: SHA-256 over all of it. The digest of an action commits to its parties,
 * but only the process that computed it knows them: a connector states a digest next to parties and
 * names of its choice. With a digest alone as the key, an approval of a harmless description would
 * release another action, and a connector could use up or deny actions at other receivers.
 */
export function questionKey(question: ApprovalQuestion): string {
  return toHex(sha256(utf8(questionForm(question))))
}

export function isSameQuestion(a: ApprovalQuestion, b: ApprovalQuestion): boolean {
  return questionForm(a) === questionForm(b)
}

/** A list, so that the text of a member cannot pass for the next one. */
function questionForm({ caller, user, receiver, ...asked }: ApprovalQuestion): string {
  const { digest, protocol, operation, tool, parameters, reason } = asked
  return JSON.stringify([
    'countersign-approval-1',
    principalKey(caller),
    user === null ? null : principalKey(user),
    principalKey(receiver),
    ...[digest, protocol, operation, tool, parameters, reason],
  ])
}

import { andThen, type Maybe, Refusal } from '../lib/refusal.ts'
import type { Obligations } from '../policy/policy.ts'
import type { Finding } from '../redaction/redactor.ts'
import type { Authorized } from './authorize.ts'
import type { Exchange } from './exchange.ts'
import type { Frame } from './frames.ts'
import { type InspectedParts, noParts, type Parts } from './inspect-parts.ts'
import { type BodyRedaction, inspectShared } from './large-bodies.ts'
import { withoutLineBreaks } from './line-breaks.ts'

export interface InspectedFrame {
  /** The very same object as came in when nothing was changed. */
  readonly data: Uint8Array
  readonly findings: readonly Finding[]
}

/** The part of a frame that detectors read: none of one that they cannot read. */
export function partsOfFrame({ data, contentType }: Frame): Pick<Parts, 'body' | 'contentType'> {
  return contentType === null ? { body: null, contentType: '' } : { body: data, contentType }
}

/** Bytes without a form could hold anything, and a value could lie across two frames of them. */
export function opaqueFault(
  { contentType }: Frame,
  { mask, block }: Pick<Obligations, 'mask' | 'block'>,
): Refusal | null {
  if (contentType !== null || mask.length + block.length === 0) return null
  const classes = [...mask, ...block].join(', ')
  return new Refusal('CONTENT_UNSUPPORTED', `opaque frames cannot be inspected for ${classes}`)
}

/** `data` as each reader of the codec takes it for one frame. */
export function wholeFrame({ contentType }: Frame, data: Uint8Array): Uint8Array {
  return contentType === null ? data : withoutLineBreaks(data, contentType)
}

/** One whole frame of a request, by the obligations under which its exchange began. */
export function inspectFrame(
  frame: Frame,
  { caller, decision, left }: Exchange<Authorized>,
  deps: BodyRedaction,
): Maybe<InspectedFrame> {
  const opaque = opaqueFault(frame, decision.obligations)
  if (opaque !== null) return opaque
  if (frame.contentType === null) return { data: frame.data, findings: [] }
  const parts = { ...noParts, ...partsOfFrame(frame) }
  const client = caller.principal
  const account = { name: client, caller: client, isAnswer: false, isFrame: true, left }
  const { mask, block } = decision.obligations
  const given = inspectShared(deps, parts, { mask, block }, account)
  const conclude = (result: InspectedParts | Refusal): InspectedFrame | Refusal =>
    result instanceof Refusal
      ? result
      : { data: wholeFrame(frame, result.body ?? frame.data), findings: result.findings }
  return andThen(given, conclude)
}

import {
  PUBLISH_LIMITS,
  parseFrames,
  parseSealedMessage,
  type SealedMessage,
} from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'

/** One message of a publish request: parsed, and nothing in it verified. */
export interface ClaimedMessage {
  readonly sealed: Uint8Array
  readonly message: SealedMessage
}

export interface DecodedPublish {
  readonly messages: readonly ClaimedMessage[]
  /**
   * The label sets of the messages, each once, in their order: policy decides on each by itself.
   */
  readonly labelSets: readonly [readonly string[], ...(readonly string[])[]]
}

const publishLimit = {
  name: 'queue.publishBytes',
  value: PUBLISH_LIMITS.bytesMax,
  unit: 'bytes',
} as const

/** Each is a decision, made again at each step: what one request can ask for is bounded. */
const labelSetsLimit = { name: 'queue.publishLabelSets', value: 32, unit: 'count' } as const

/** The body of `POST /v1/channels/:name/messages`. Views into `body`, which must stay as it is. */
export function decodePublish(body: Uint8Array): DecodedPublish | Refusal {
  if (body.length > PUBLISH_LIMITS.bytesMax) {
    return overLimit('MESSAGE_TOO_LARGE', publishLimit, `${body.length} bytes`)
  }
  const frames = parseFrames(body, PUBLISH_LIMITS)
  if (frames === null || frames.length === 0) {
    return new Refusal('MESSAGE_MALFORMED', 'the body is not a list of sealed messages')
  }
  const messages: ClaimedMessage[] = []
  const labelSets = new Map<string, readonly string[]>()
  for (const sealed of frames) {
    const message = parseSealedMessage(sealed)
    if (message === null) {
      return new Refusal(
        'MESSAGE_MALFORMED',
        `message ${messages.length + 1} is not a sealed message`,
      )
    }
    messages.push({ sealed, message })
    // Ascending in the one encoding of a message, and without blanks.
    labelSets.set(message.header.labels.join(' '), message.header.labels)
  }
  if (labelSets.size > labelSetsLimit.value) {
    return overLimit('MESSAGE_MALFORMED', labelSetsLimit, `${labelSets.size} label sets`)
  }
  const [first = [], ...others] = labelSets.values()
  return { messages, labelSets: [first, ...others] }
}

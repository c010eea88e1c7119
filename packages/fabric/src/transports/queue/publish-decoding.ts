import {
  PUBLISH_LIMITS,
  parseFrames,
  parseSealedMessage,
  type SealedMessage,
} from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'

/** One message of a publish request: parsed, and nothing in it verified. */
export interface ClaimedMessage {
  readonly sealed: Uint8Array
  readonly message: SealedMessage
}

export interface DecodedPublish {
  readonly messages: readonly ClaimedMessage[]
  /** All labels of all messages, ascending: policy decides on the request as a whole. */
  readonly labels: readonly string[]
}

const publishLimit = {
  name: 'queue.publishBytes',
  value: PUBLISH_LIMITS.bytesMax,
  unit: 'bytes',
} as const

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
  const labels = new Set<string>()
  for (const sealed of frames) {
    const message = parseSealedMessage(sealed)
    if (message === null) {
      return new Refusal(
        'MESSAGE_MALFORMED',
        `message ${messages.length + 1} is not a sealed message`,
      )
    }
    messages.push({ sealed, message })
    for (const label of message.header.labels) labels.add(label)
  }
  return { messages, labels: [...labels].toSorted() }
}

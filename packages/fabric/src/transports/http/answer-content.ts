import { Refusal } from '../../lib/refusal.ts'
import { answerText } from '../../pipeline/answer-text.ts'
import { type StreamEvent, uninspectedAnswer } from '../../pipeline/delivery.ts'
import type { TimeAccount } from '../../pipeline/large-bodies.ts'
import type { FindCard } from './card-content.ts'
import type { RouteProtocol } from './classify.ts'
import { isEndpointEvent } from './mcp-sessions.ts'

/** Where the content of an answer comes from. */
export interface ContentSource {
  readonly findCard: FindCard
  readonly account: TimeAccount
  readonly route: { readonly protocol: RouteProtocol }
}

/**
 * The text of a whole answer, or the refusal of one that leads its caller past the fabric: by an agent
 * card, or by bytes of which some reader makes another text, and so perhaps a card. The same for the
 * gateway and for connectors on both sides.
 */
export async function readContent(
  content: Uint8Array,
  contentType: string,
  { findCard, account }: ContentSource,
): Promise<Uint8Array | Refusal> {
  const text = answerText(content, contentType)
  if (text instanceof Refusal) return text
  const found = await findCard(text, account)
  if (found instanceof Refusal) return uninspectedAnswer(found)
  return found ? cardRefusal('that was not asked for') : text
}

/** As `readContent`, for the data of one event. Feeds for everyone may call their events anything. */
export async function readEvent(
  event: StreamEvent,
  source: ContentSource,
): Promise<Uint8Array | Refusal> {
  if (source.route.protocol !== 'http' && isEndpointEvent(event)) {
    const detail = 'an endpoint of HTTP+SSE (MCP 2024-11-05), which is not carried'
    return new Refusal('RESPONSE_REJECTED', detail)
  }
  return readContent(event.data, event.contentType, source)
}

export function cardRefusal(where: string): Refusal {
  return new Refusal('RESPONSE_REJECTED', `an agent card ${where} leads past the fabric`)
}

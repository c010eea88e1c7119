import { Refusal } from '../lib/refusal.ts'
import { type StreamEvent, uninspectedAnswer } from '../pipeline/delivery.ts'
import type { TimeAccount } from '../pipeline/large-bodies.ts'
import type { ReadKind } from './a2a/card-content.ts'
import { isEndpointEvent } from './mcp/mcp-sessions.ts'
import type { RouteProtocol } from './reading/route-protocol.ts'

/** The source of an answer's content. */
export interface ContentSource {
  readonly readKind: ReadKind
  readonly account: TimeAccount
  readonly route: { readonly protocol: RouteProtocol }
}

/**
 * Reports whether a whole answer is its own text or has to be decoded. Returns a refusal if the
 * answer leads its caller past the fabric: by an agent card, or by bytes that some reader decodes
 * to another text, and so perhaps to a card. Gateway and connectors on both sides use the same
 * check.
 */
export async function readContent(
  content: Uint8Array,
  contentType: string,
  { readKind, account }: ContentSource,
): Promise<'same' | 'decoded' | Refusal> {
  if (content.length === 0) return 'same'
  const kind = await readKind(content, contentType, account)
  if (kind instanceof Refusal) return uninspectedAnswer(kind)
  return kind === 'card' ? cardRefusal('that was not asked for') : kind
}

/**
 * As `readContent`, for the data of one event. Feeds for everyone may call their events anything.
 */
export async function readEvent(
  event: StreamEvent,
  source: ContentSource,
): Promise<'same' | 'decoded' | Refusal> {
  if (source.route.protocol !== 'http' && isEndpointEvent(event)) {
    const detail = 'an endpoint of HTTP+SSE (MCP 2024-11-05), which is not carried'
    return new Refusal('RESPONSE_REJECTED', detail)
  }
  return readContent(event.data, event.contentType, source)
}

export function cardRefusal(where: string): Refusal {
  return new Refusal('RESPONSE_REJECTED', `an agent card ${where} leads past the fabric`)
}

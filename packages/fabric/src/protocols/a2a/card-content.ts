import { type JsonValue, parseStrictJson, parseUtf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { answerText } from '../../pipeline/answer-text.ts'
import type { TimeAccount } from '../../pipeline/large-bodies.ts'
import { bareWord } from '../reading/folded-name.ts'
import { freeWork, STEPS, type Work } from '../reading/reading-steps.ts'
import { readingsOf } from '../reading/text-readings.ts'
import { WordMatcher } from '../reading/word-matcher.ts'
import { hasClueOfCard } from './card-clue.ts'

/**
 * An agent card; or the text that every reader makes of the content, which is the same bytes or
 * others.
 */
export type ContentKind = 'card' | 'same' | 'decoded'

/**
 * Reads the content of an answer on the account of its receiver. Refuses content of which readers
 * make two texts, and content that could not be looked at.
 */
export type ReadKind = (
  content: Uint8Array,
  contentType: string,
  account: TimeAccount,
) => ContentKind | Refusal | Promise<ContentKind | Refusal>

export function kindOf(
  content: Uint8Array,
  contentType: string,
  work: Work = freeWork,
): ContentKind | Refusal {
  work.spend(content.length * STEPS.clueByte)
  const text = answerText(content, contentType)
  if (text instanceof Refusal) return text
  if (holdsCard(text, work)) return 'card'
  return text === content ? 'same' : 'decoded'
}

/** The kind, where one pass over the bytes shows it. */
export function evidentKind(
  content: Uint8Array,
  contentType: string,
): ContentKind | Refusal | null {
  const text = answerText(content, contentType)
  if (text instanceof Refusal) return text
  if (hasClueOfCard(text)) return null
  return text === content ? 'same' : 'decoded'
}

/**
 * Members that hold the address of the agent in a card of 1.0, and in one of 0.3 in addition to
 * `url`.
 */
const interfaces: ReadonlySet<string> = new Set(['supportedinterfaces', 'additionalinterfaces'])
/** Members that hardly anything has except a card. */
const distinctive: ReadonlySet<string> = new Set([
  'skills',
  'capabilities',
  'defaultinputmodes',
  'defaultoutputmodes',
  'preferredtransport',
  'supportsauthenticatedextendedcard',
])
/** Further members of a card that other documents have as well. */
const usual: ReadonlySet<string> = new Set([
  'version',
  'protocolversion',
  'provider',
  'documentationurl',
  'iconurl',
  'security',
  'securityschemes',
  'signatures',
])

/** As a member with a colon or an equals sign, an element of XML, or a keyword of EDN. */
const laxMembers = new WordMatcher({
  url: asMembers('url'),
  interfaces: [...asMembers('supportedinterfaces'), ...asMembers('additionalinterfaces')],
  skills: asMembers('skills'),
  capabilities: asMembers('capabilities'),
  input: asMembers('defaultinputmodes'),
  output: asMembers('defaultoutputmodes'),
  transport: asMembers('preferredtransport'),
})

function asMembers(name: string): readonly string[] {
  return [`^${name}:`, `<${name}`, `:${name}`]
}

/**
 * Reports whether an answer to a request for something else holds an agent card, whose addresses
 * and security would lead past the fabric. Cards are recognized by their content, under any path
 * and media type. A card that is a value deep inside another document is left to that document.
 */
export function holdsCard(body: Uint8Array, work: Work = freeWork): boolean {
  work.spend(body.length * STEPS.clueByte)
  if (!hasClueOfCard(body)) return false
  work.spend(body.length * STEPS.readByte)
  let text: string
  try {
    text = parseUtf8(body).replace(/^\ufeff/, '')
  } catch {
    // Refused as malformed before anyone reads it.
    return false
  }
  let value: JsonValue
  try {
    value = parseStrictJson(text)
  } catch {
    return mayHoldLaxCard(text, work)
  }
  if (typeof value === 'string') return mayHoldLaxCard(value, work)
  return [value, ...membersOf(value)].some(isCard)
}

/**
 * Returns the values that a client may take for the card: the answer itself, a member of it, or the
 * result of a call.
 */
function membersOf(value: JsonValue): readonly JsonValue[] {
  if (typeof value !== 'object' || value === null) return []
  const inner: readonly JsonValue[] = Object.values(value)
  const { result } = value as { readonly result?: JsonValue }
  return typeof result === 'object' && result !== null
    ? [...inner, ...Object.values(result)]
    : inner
}

function isCard(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  let ofCards = 0
  let ofMany = 0
  let hasUrl = false
  for (const name of Object.keys(value)) {
    const bare = bareWord(name)
    if (interfaces.has(bare)) return true
    if (bare === 'url') hasUrl = true
    if (distinctive.has(bare)) ofCards++
    if (usual.has(bare)) ofMany++
  }
  return hasUrl && ofCards > 0 && ofCards + ofMany > 1
}

/** JSON as lax readers take it: with comments, a prefix, single quotes; or YAML. */
function mayHoldLaxCard(text: string, work: Work): boolean {
  for (const reading of readingsOf(text, work)) {
    work.spend(reading.length * STEPS.wordByte)
    if (namesCard(reading)) return true
  }
  return false
}

function namesCard(text: string): boolean {
  const found = laxMembers.find(text)
  if (!found.has('url')) return false
  // The address, and two of the members that hardly anything else has.
  return found.has('interfaces') || found.size > 2
}

/**
 * Rules of prose for documents and code comments, as far as a pattern can decide them. The word
 * lists stand here once; `documents.ts` and the rules for comments extract the text that they apply
 * to.
 */
export interface ProseRule {
  readonly name: string
  /** Matches the offence within one sentence. */
  readonly pattern: RegExp
  readonly instead: string
}

/** Text and code share one width; tables, code blocks and links are exempt. */
export const PROSE_COLUMNS = 100

const OPENINGS =
  'What|Whatever|Who|Whoever|Whom|Whomever|Whose|Where|Wherever|Whether|Whichever|Which|How'

/** Rules that hold for every sentence, in documents and in comments. */
export const SENTENCE_RULES: readonly ProseRule[] = [
  {
    name: 'free relative',
    // A question may open with one of these words.
    pattern: new RegExp(`^(?:${OPENINGS})\\b(?!.*\\?$)`),
    instead: 'open with the subject or the verb: "Returns …", "Rejects when …"',
  },
  {
    name: 'is no',
    pattern: /(?<!\bthere )\b(?:is|are|was|were) no\b(?! (?:longer|more|fewer|less)\b|[,.:;])/i,
    instead: '"is not a"',
  },
  {
    name: 'unnamed actor',
    pattern: /\b(?:nobody|no one|no-one|somebody|someone|whoever|whomever)(?:['’]s)?\b/i,
    instead: 'name the actor: an unauthenticated client, the operator, any agent',
  },
  { name: 'but for', pattern: /\bbut for\b/i, instead: '"except"' },
  { name: 'beside', pattern: /\bbeside\b/i, instead: '"next to" or "with"' },
  {
    name: 'archaism',
    pattern:
      /\b(?:beget|begets|thrice|forth(?!coming)|lest|hitherto|thither|whence|thence|whilst|thereof|whereof|wherein|whereupon|unto|albeit|nought|afresh|betwixt)\b/i,
    instead: 'plain words of today',
  },
  {
    name: 'anthropomorphism',
    pattern: /\b(?:hears?|heard|says?|said|tells?|told)\b/i,
    instead: '"receives", "returns", "states", "logs", "sends"',
  },
]

/** Words of the house that the field does not use, and their replacements. */
export const VOCABULARY_RULES: readonly ProseRule[] = [
  { out: 'three ways', into: 'three transports' },
  {
    out: '(?<!\\b(?:no|more|the|for|makes?|of|without|leaves?) )rooms?(?! for\\b)',
    into: 'module',
  },
  { out: 'couriers?', into: 'forwarder' },
  { out: 'strangers?', into: 'unauthenticated client' },
  { out: '(?<!long-)standing', into: 'status' },
  { out: 'surroundings', into: 'environment' },
  { out: 'patience', into: 'deadline' },
  { out: 'farewells?', into: 'terminal event' },
  { out: 'obliges?|demands', into: 'obligations; requires' },
  { out: 'bury|buries|buried', into: 'dead-letter' },
  { out: 'liars?|told lies?', into: 'attack, malicious server' },
  { out: 'narrators?|stories|story', into: 'demo, step, printer' },
  { out: 'unread', into: 'unparsed' },
  { out: 'dice', into: 'seeded random' },
].map(({ out, into }) => ({
  name: 'vocabulary',
  pattern: new RegExp(`\\b(?:${out})\\b`, 'i'),
  instead: `"${into}"`,
}))

export const PROSE_RULES: readonly ProseRule[] = [...SENTENCE_RULES, ...VOCABULARY_RULES]

/**
 * Sentences of one paragraph, list item, table cell or comment; code and quotations are removed
 * first.
 */
export function sentencesOf(block: string): readonly string[] {
  return block
    .replaceAll(/``[^`]+``|`[^`]*`/g, 'CODE')
    .replaceAll(/"[^"]*"|“[^”]*”/g, 'QUOTED')
    .replaceAll(/\s+/g, ' ')
    .split(/(?<=[.!?:;][)"”*_]*) (?=[*_("“]*[A-Z])/)
    .map((sentence) => sentence.trim().replace(/^[*_("“]+/, ''))
    .filter((sentence) => sentence !== '')
}

export interface ProseFault {
  readonly rule: string
  readonly found: string
  readonly instead: string
}

/** Every rule that a block of prose breaks, once for each sentence. */
export function proseFaults(
  block: string,
  rules: readonly ProseRule[] = PROSE_RULES,
): readonly ProseFault[] {
  return sentencesOf(block).flatMap((sentence) =>
    rules.flatMap(({ name, pattern, instead }) => {
      const match = pattern.exec(sentence)
      return match === null ? [] : [{ rule: name, found: around(sentence, match), instead }]
    }),
  )
}

const around = (sentence: string, { index, 0: word }: RegExpExecArray): string =>
  sentence.slice(Math.max(0, index - 20), index + word.length + 20)

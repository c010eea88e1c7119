import { isAgentName, isReservedName } from '@countersign/protocol'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Projection } from '../state/projection.ts'
import type { StateChange } from '../state/state-store.ts'
import type { StateStream } from '../state/state-stream.ts'
import type { Attributes } from './caller.ts'
import type { Guards } from './guards.ts'
import {
  createSecretText,
  formatSecretText,
  hashSecret,
  parseSecretText,
  secretMatches,
} from './secret-text.ts'
import type { StoredDirectory } from './stored-directory.ts'

/**
 * The principal that a join token admits, with its attributes: decided by the maker of the token,
 * not by its bearer.
 */
export interface JoinTerms {
  readonly name: string
  readonly kind?: 'agent' | 'user'
  readonly roles?: readonly string[]
  readonly segment?: string
  readonly attributes?: Attributes
  /** At most a day; a quarter of an hour unless stated. */
  readonly ttlMs?: number
}

/** A join token as administration sees it; the secret is not in it. */
export interface JoinToken {
  readonly id: string
  readonly name: string
  readonly kind: 'agent' | 'user'
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Attributes
  readonly createdAt: number
  readonly expiresAt: number
  /** Null until it was used to enrol. */
  readonly usedAt: number | null
  /**
   * The count of enrolments of its agent when it was made: it is good for the next one only. Absent
   * from tokens of earlier versions.
   */
  readonly generation?: number | undefined
  /** The reason why it is not valid any more, though not used; absent while it is valid. */
  readonly ended?: string | undefined
}

export interface JoinTokens {
  /**
   * Ends every other token of that agent, since the last decision about an agent is the one that
   * counts. `text` is shown once and cannot be had again.
   */
  create(terms: JoinTerms): Promise<{ readonly text: string; readonly token: JoinToken }>
  list(): readonly JoinToken[]
  /** True when there was an unused one of that id; it is forgotten. */
  remove(id: string): Promise<boolean>
  /** The token whose secret `text` shows, used or expired ones included; null for any other. */
  find(text: string): JoinToken | null
  /** Uses the token up, in a commit with the record that it creates. */
  consumption(id: string): readonly StateChange[]
  /** Ends every token of an agent that is not used, in a commit with the record that changes. */
  endings(name: string, reason: string): readonly StateChange[]
}

const kind = 'csj'
const idLength = 12
const ttlMsDefault = 15 * 60_000
const ttlMsMax = 24 * 3_600_000
/**
 * Used and expired tokens are kept this long, so that a second use can be distinguished from a
 * guess.
 */
const keptMs = 24 * 3_600_000
const tokensMax = 10_000

const tokenSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  kind: z.enum(['agent', 'user']),
  roles: z.array(z.string()),
  segment: z.string(),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  createdAt: z.number(),
  expiresAt: z.number(),
  usedAt: z.number().nullable(),
  generation: z.int().min(0).optional(),
  ended: z.string().optional(),
  /** The history of the state that it was made in. */
  history: z.string().optional(),
  hash: z.string(),
})
type KeptToken = z.infer<typeof tokenSchema>

export function createJoinTokens(options: {
  readonly stream: Pick<StateStream, 'project' | 'commit' | 'history'>
  readonly guards: Guards
  readonly directory: Pick<StoredDirectory, 'find'>
  readonly clock: Clock
  readonly random: Random
}): JoinTokens {
  const { stream, guards, directory, clock, random } = options
  const tokens = stream.project<KeptToken>({
    table: 'join-tokens',
    parse: (_, text) => tokenSchema.parse(JSON.parse(text)),
    format: (token) => JSON.stringify(token),
  })
  const changes = new TokenChanges(tokens, guards)
  const view = (token: KeptToken): JoinToken => viewOf(token, stream.history)
  return {
    create: async (terms) => {
      const secret = createSecretText(idLength, random)
      await stream.commit(() => {
        const now = clock.now()
        const old = [...tokens.values()].filter(({ expiresAt }) => expiresAt < now - keptMs)
        if (tokens.size - old.length >= tokensMax) {
          throw new Error(`there are ${tokensMax} join tokens already`)
        }
        if (tokens.find(secret.id) !== null) throw new Error('a join token of that id exists')
        const generation = directory.find(terms.name)?.generation ?? 0
        const made = tokenOf(terms, { secret, now, generation, history: stream.history })
        const ended = changes.end(made.name, 'a newer one was made')
        return [...old.flatMap((token) => changes.forget(token)), ...ended, ...changes.add(made)]
      })
      const token = tokens.find(secret.id)
      if (token === null) throw new Error('the join token was removed at once')
      return { text: formatSecretText(kind, secret), token: view(token) }
    },
    list: () => [...tokens.values()].map(view),
    remove: (id) =>
      stream.commit(() => {
        const token = tokens.find(id)
        return token?.usedAt === null ? changes.forget(token) : null
      }),
    find: (text) => {
      const parsed = parseSecretText(kind, idLength, text)
      const token = parsed === null ? null : tokens.find(parsed.id)
      if (parsed === null || token === null) return null
      return secretMatches(parsed.secret, token.hash) ? view(token) : null
    },
    consumption: (id) => {
      const token = tokens.find(id)
      if (token === null) throw new TypeError('no such join token')
      // Of two processes that enrol with one token, the second finds another text here and loses.
      return [tokens.change(id, { ...token, usedAt: clock.now() })]
    },
    endings: (name, reason) => [...changes.end(name, reason), changes.compareNewest(name)],
  }
}

/**
 * The changes of tokens, all on condition that the tokens are as they are known here. The guard of
 * an agent holds the id of its newest token: a decision about all of its tokens compares it, and
 * loses to a process that has made another one.
 */
class TokenChanges {
  readonly #tokens: Projection<KeptToken>
  readonly #guards: Guards

  constructor(tokens: Projection<KeptToken>, guards: Guards) {
    this.#tokens = tokens
    this.#guards = guards
  }

  add(token: KeptToken): readonly StateChange[] {
    const newest = this.#guards.change(newestOf(token.name), token.id)
    return [this.#tokens.change(token.id, token), newest]
  }

  forget({ id, name }: KeptToken): readonly StateChange[] {
    const removed = this.#tokens.change(id, null)
    const isNewest = this.#guards.find(newestOf(name)) === id
    return isNewest ? [removed, this.#guards.change(newestOf(name), null)] : [removed]
  }

  /** Ends every token of an agent that is still good. */
  end(name: string, reason: string): readonly StateChange[] {
    return [...this.#tokens.values()]
      .filter((token) => token.name === name && token.usedAt === null && token.ended === undefined)
      .map((token) => this.#tokens.change(token.id, { ...token, ended: reason }))
  }

  /** Changes nothing, and fails if another process has made a token since. */
  compareNewest(name: string): StateChange {
    return this.#guards.change(newestOf(name), this.#guards.find(newestOf(name)))
  }
}

function newestOf(name: string): string {
  return `newest-join-token/${name}`
}

function tokenOf(
  terms: JoinTerms,
  made: {
    secret: { id: string; secret: string }
    now: number
    generation: number
    history: string
  },
): KeptToken {
  const ttlMs = terms.ttlMs ?? ttlMsDefault
  if (!isAgentName(terms.name)) throw new TypeError('not an agent name')
  if (isReservedName(terms.name)) throw new TypeError(`${terms.name} is reserved`)
  if (!(ttlMs > 0 && ttlMs <= ttlMsMax)) throw new RangeError('a join token lives up to a day')
  return tokenSchema.parse({
    id: made.secret.id,
    name: terms.name,
    kind: terms.kind ?? 'agent',
    roles: [...(terms.roles ?? [])],
    segment: terms.segment ?? '',
    attributes: { ...terms.attributes },
    createdAt: made.now,
    expiresAt: made.now + ttlMs,
    usedAt: null,
    generation: made.generation,
    history: made.history,
    hash: hashSecret(made.secret.secret),
  })
}

/** Without the hash. A token of another history may have been used, which that one has lost. */
function viewOf({ hash: _, history = '', ...token }: KeptToken, present: string): JoinToken {
  if (history === present || token.usedAt !== null || token.ended !== undefined) return token
  return { ...token, ended: 'the state failed over since and may have lost its use' }
}

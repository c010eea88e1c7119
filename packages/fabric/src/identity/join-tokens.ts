import { isAgentName, isReservedName } from '@countersign/protocol'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { StateChange, StateStore } from '../state/state-store.ts'
import type { Attributes } from './caller.ts'
import { type JointChanges, noChanges } from './joint-changes.ts'
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
  consumption(id: string): JointChanges
  /** Ends every token of an agent that is not used, in a commit with the record that changes. */
  endings(name: string, reason: string): JointChanges
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
  hash: z.string(),
})
type KeptToken = z.infer<typeof tokenSchema>

export async function openJoinTokens(options: {
  readonly store: StateStore
  readonly directory: Pick<StoredDirectory, 'find' | 'commit'>
  readonly clock: Clock
  readonly random: Random
}): Promise<JoinTokens> {
  const { store, directory, clock, random } = options
  const tokens = new KeptTokens()
  for (const { table, key, value } of (await store.read()).rows) {
    if (table === 'join-tokens') tokens.set(key, tokenSchema.parse(JSON.parse(value)))
  }
  return {
    create: async (terms) => {
      const secret = createSecretText(idLength, random)
      const durable = await directory.commit(() => {
        const now = clock.now()
        const old = tokens.select(({ expiresAt }) => expiresAt < now - keptMs)
        if (tokens.size - old.length >= tokensMax) {
          throw new Error(`there are ${tokensMax} join tokens already`)
        }
        const generation = directory.find(terms.name)?.generation ?? 0
        const made = tokens.keep(tokenOf(terms, { secret, now, generation }))
        const ended = tokens.end(terms.name, 'a newer one was made')
        return together(ended, tokens.forget(...old), expecting(made, null))
      })
      const token = tokens.get(secret.id)
      if (!durable || token === undefined) throw new Error('a join token of that id exists')
      return { text: formatSecretText(kind, secret), token: withoutHash(token) }
    },
    list: () => [...tokens.values()].map(withoutHash),
    remove: async (id) => {
      const durable = await directory.commit(() => {
        const token = tokens.get(id)
        return token?.usedAt === null ? expecting(tokens.forget(token), token) : noChanges
      })
      return durable && !tokens.has(id)
    },
    find: (text) => {
      const parsed = parseSecretText(kind, idLength, text)
      const token = parsed === null ? undefined : tokens.get(parsed.id)
      if (parsed === null || token === undefined) return null
      return secretMatches(parsed.secret, token.hash) ? withoutHash(token) : null
    },
    consumption: (id) => {
      const token = tokens.get(id)
      if (token === undefined) throw new TypeError('no such join token')
      // Of two processes that enrol with one token, the second finds another text here and loses.
      return expecting(tokens.keep({ ...token, usedAt: clock.now() }), token)
    },
    endings: (name, reason) => tokens.end(name, reason),
  }
}

/** The tokens as they are durable; a change of them is in memory once it is. */
class KeptTokens extends Map<string, KeptToken> {
  select(isMeant: (token: KeptToken) => boolean): readonly KeptToken[] {
    return [...this.values()].filter(isMeant)
  }

  keep(...next: readonly KeptToken[]): JointChanges {
    const applied = (): void => {
      for (const token of next) this.set(token.id, token)
    }
    return { changes: next.map((token) => rowOf(token)), applied }
  }

  forget(...old: readonly KeptToken[]): JointChanges {
    const applied = (): void => {
      for (const { id } of old) this.delete(id)
    }
    return { changes: old.map((token) => ({ ...rowOf(token), value: null })), applied }
  }

  /**
   * Expects nothing of the rows: the end of a token must not fail for what became of it meanwhile.
   */
  end(name: string, reason: string): JointChanges {
    const isGood = (token: KeptToken) => token.usedAt === null && token.ended === undefined
    const good = this.select((token) => token.name === name && isGood(token))
    return this.keep(...good.map((token) => ({ ...token, ended: reason })))
  }
}

function rowOf(token: KeptToken): StateChange {
  return { table: 'join-tokens', key: token.id, value: format(token) }
}

/** Members in the order of the schema, as a token that was read has them: texts are compared. */
function format(token: KeptToken): string {
  return JSON.stringify(tokenSchema.parse(token))
}

/** Of one token, which must still be as it is known here; null for one that must not exist. */
function expecting(changes: JointChanges, token: KeptToken | null): JointChanges {
  const expected = token === null ? null : format(token)
  return { ...changes, changes: changes.changes.map((change) => ({ ...change, expected })) }
}

function together(...all: readonly JointChanges[]): JointChanges {
  return {
    changes: all.flatMap(({ changes }) => changes),
    applied: () => {
      for (const each of all) each.applied()
    },
  }
}

function tokenOf(
  terms: JoinTerms,
  made: { secret: { id: string; secret: string }; now: number; generation: number },
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
    hash: hashSecret(made.secret.secret),
  })
}

function withoutHash(kept: KeptToken): JoinToken {
  const { hash: _, ...token } = kept
  return token
}

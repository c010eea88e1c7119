import { isAgentName, isReservedName } from '@countersign/protocol'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Attributes } from './caller.ts'
import {
  createSecretText,
  formatSecretText,
  hashSecret,
  parseSecretText,
  secretMatches,
} from './secret-text.ts'
import type { StateChange, StateStore } from './state-store.ts'

/** Whom a join token admits, and as what: decided by who made the token, not by who brings it. */
export interface JoinTerms {
  readonly name: string
  readonly kind?: 'agent' | 'user'
  readonly roles?: readonly string[]
  readonly segment?: string
  readonly attributes?: Attributes
  /** At most a day; a quarter of an hour unless said. */
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
  /** Null until somebody enrolled with it. */
  readonly usedAt: number | null
}

export interface JoinTokens {
  /** `text` is shown once and cannot be had again. */
  create(terms: JoinTerms): Promise<{ readonly text: string; readonly token: JoinToken }>
  list(): readonly JoinToken[]
  /** True when there was an unused one of that id. */
  remove(id: string): Promise<boolean>
  /** The token whose secret `text` shows, used or expired ones included; null for any other. */
  find(text: string): JoinToken | null
  /** The change that uses the token up, for a commit with the record it creates. */
  consumption(id: string): StateChange
  /** To be called once that commit was durable. */
  consumed(id: string): void
}

const kind = 'csj'
const idLength = 12
const ttlMsDefault = 15 * 60_000
const ttlMsMax = 24 * 3_600_000
/** Used and expired tokens are kept this long, so that a second use can be told from a guess. */
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
  hash: z.string(),
})
type KeptToken = z.infer<typeof tokenSchema>

export async function openJoinTokens(options: {
  readonly store: StateStore
  readonly clock: Clock
  readonly random: Random
}): Promise<JoinTokens> {
  const { store, clock, random } = options
  const tokens = new Map<string, KeptToken>()
  for (const { key, value } of await store.load('join-tokens')) {
    tokens.set(key, tokenSchema.parse(JSON.parse(value)))
  }

  const forgetOld = async (): Promise<void> => {
    const limit = clock.now() - keptMs
    const old = [...tokens.values()].filter((token) => token.expiresAt < limit)
    if (old.length === 0) return
    await store.commit(old.map(({ id }) => ({ table: 'join-tokens', key: id, value: null })))
    for (const { id } of old) tokens.delete(id)
  }
  const used = (token: KeptToken): KeptToken => ({ ...token, usedAt: clock.now() })
  const loadToken = (id: string): KeptToken => {
    const token = tokens.get(id)
    if (token === undefined) throw new TypeError('no such join token')
    return token
  }
  const pending = new Map<string, KeptToken>()

  return {
    create: async (terms) => {
      await forgetOld()
      if (tokens.size >= tokensMax) throw new Error(`there are ${tokensMax} join tokens already`)
      const secret = createSecretText(idLength, random)
      const token = tokenOf(terms, { secret, now: clock.now() })
      const change = { table: 'join-tokens', key: token.id, value: JSON.stringify(token) } as const
      if (!(await store.commit([{ ...change, expected: null }]))) {
        throw new Error('a join token of that id exists')
      }
      tokens.set(token.id, token)
      return { text: formatSecretText(kind, secret), token: withoutHash(token) }
    },
    list: () => [...tokens.values()].map(withoutHash),
    remove: async (id) => {
      const token = tokens.get(id)
      if (token === undefined || token.usedAt !== null) return false
      const expected = JSON.stringify(token)
      const change = { table: 'join-tokens', key: id, value: null, expected } as const
      if (!(await store.commit([change]))) return false
      tokens.delete(id)
      return true
    },
    find: (text) => {
      const parsed = parseSecretText(kind, idLength, text)
      const token = parsed === null ? undefined : tokens.get(parsed.id)
      if (parsed === null || token === undefined) return null
      return secretMatches(parsed.secret, token.hash) ? withoutHash(token) : null
    },
    consumption: (id) => {
      const token = loadToken(id)
      const next = used(token)
      pending.set(id, next)
      // Of two that enrol with one token at once, the second finds another text here and loses.
      const expected = JSON.stringify({ ...token, usedAt: null })
      return { table: 'join-tokens', key: id, value: JSON.stringify(next), expected }
    },
    consumed: (id) => {
      tokens.set(id, pending.get(id) ?? used(loadToken(id)))
      pending.delete(id)
    },
  }
}

function tokenOf(
  terms: JoinTerms,
  made: { secret: { id: string; secret: string }; now: number },
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
    hash: hashSecret(made.secret.secret),
  })
}

function withoutHash(kept: KeptToken): JoinToken {
  const { hash: _, ...token } = kept
  return token
}

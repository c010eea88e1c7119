import { ListenerSet } from '@countersign/protocol'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { StateStore } from '../state/state-store.ts'
import type { Directory } from './directory.ts'
import {
  createSecretText,
  formatSecretText,
  hashSecret,
  parseSecretText,
  secretMatches,
} from './secret-text.ts'

export interface ApiKeyTerms {
  /** The owner of the key: a name in the directory. */
  readonly owner: string
  /** Null: everything that policy allows its owner. Otherwise only these agents and channels. */
  readonly scopes: readonly string[] | null
  /** At most a year; ninety days unless stated. */
  readonly ttlMs?: number
  /** For people, to distinguish keys. */
  readonly label?: string
}

/** A key as administration sees it; the secret is not in it. */
export interface ApiKey {
  /** The eight public characters after `csk_`. */
  readonly id: string
  readonly owner: string
  readonly scopes: readonly string[] | null
  readonly label: string
  readonly createdAt: number
  readonly expiresAt: number
}

export interface ApiKeys {
  /** `text` is shown once and cannot be had again. Rejects when the owner is unknown. */
  create(terms: ApiKeyTerms): Promise<{ readonly text: string; readonly key: ApiKey }>
  list(): readonly ApiKey[]
  /** True when there was one of that id; it opens nothing from then on. */
  remove(id: string): Promise<boolean>
  /**
   * Reports whether there is one of that id, expired or not: anything that it opened before must
   * end with it.
   */
  stands(id: string): boolean
  /** Called after every durable removal. Returns the function that stops it. */
  onRemove(listener: () => void): () => void
  /** The key whose secret `text` shows, expired ones included; null for any other text. */
  find(text: string): ApiKey | null
}

const kind = 'csk'
const idLength = 8
const dayMs = 86_400_000
const ttlMsDefault = 90 * dayMs
const ttlMsMax = 366 * dayMs
const keysMax = 100_000
const scopesMax = 1_000

const keySchema = z.strictObject({
  id: z.string(),
  owner: z.string(),
  scopes: z.array(z.string().min(1).max(255)).max(scopesMax).nullable(),
  label: z.string().max(200),
  createdAt: z.number(),
  expiresAt: z.number(),
  hash: z.string(),
})
type KeptKey = z.infer<typeof keySchema>

/** Reports whether a text claims to be one of our keys, even if a bearer token was expected. */
export function looksLikeApiKey(text: string): boolean {
  return text.startsWith(`${kind}_`)
}

export async function openApiKeys(options: {
  readonly store: StateStore
  readonly directory: Directory
  readonly clock: Clock
  readonly random: Random
}): Promise<ApiKeys> {
  const { store, directory, clock, random } = options
  const keys = new Map<string, KeptKey>()
  const listeners = new ListenerSet()
  for (const { table, key, value } of (await store.read()).rows) {
    if (table === 'api-keys') keys.set(key, keySchema.parse(JSON.parse(value)))
  }
  return {
    create: async (terms) => {
      const ttlMs = terms.ttlMs ?? ttlMsDefault
      if (!(ttlMs > 0 && ttlMs <= ttlMsMax)) throw new RangeError('an API key lives up to a year')
      if (directory.find(terms.owner) === null) throw new TypeError('the owner is not known')
      if (keys.size >= keysMax) throw new Error(`there are ${keysMax} API keys already`)
      const secret = createSecretText(idLength, random)
      const key = keySchema.parse({
        id: secret.id,
        owner: terms.owner,
        scopes: terms.scopes,
        label: terms.label ?? '',
        createdAt: clock.now(),
        expiresAt: clock.now() + ttlMs,
        hash: hashSecret(secret.secret),
      })
      const row = { table: 'api-keys', key: key.id, value: JSON.stringify(key) } as const
      if ((await store.commit([{ ...row, expected: null }])) === null) {
        throw new Error('an API key of that id exists')
      }
      keys.set(key.id, key)
      return { text: formatSecretText(kind, secret), key: withoutHash(key) }
    },
    list: () => [...keys.values()].map(withoutHash),
    remove: async (id) => {
      if (!keys.has(id)) return false
      // Durable first: a key that was reported as removed must not come back with the next start.
      await store.commit([{ table: 'api-keys', key: id, value: null }])
      const removed = keys.delete(id)
      listeners.notify()
      return removed
    },
    stands: (id) => keys.has(id),
    onRemove: (listener) => listeners.add(listener),
    find: (text) => {
      const parsed = parseSecretText(kind, idLength, text)
      const key = parsed === null ? undefined : keys.get(parsed.id)
      if (parsed === null || key === undefined) return null
      return secretMatches(parsed.secret, key.hash) ? withoutHash(key) : null
    },
  }
}

function withoutHash(kept: KeptKey): ApiKey {
  const { hash: _, ...key } = kept
  return key
}

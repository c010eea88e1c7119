import { ListenerSet } from '@countersign/protocol'
import { z } from 'zod'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { StateStream } from '../state/state-stream.ts'
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
  /** Called after every removal, in whichever process. Returns the function that stops it. */
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

export function createApiKeys(options: {
  readonly stream: Pick<StateStream, 'project' | 'commit'>
  readonly directory: Pick<Directory, 'find'>
  readonly clock: Clock
  readonly random: Random
}): ApiKeys {
  const { stream, directory, clock, random } = options
  const keys = stream.project<KeptKey>({
    table: 'api-keys',
    parse: (_, text) => keySchema.parse(JSON.parse(text)),
    format: (key) => JSON.stringify(key),
  })
  const removed = new ListenerSet()
  keys.onChange((changes) => {
    if (changes.some(({ after }) => after === null)) removed.notify()
  })
  return {
    create: async (terms) => {
      const ttlMs = terms.ttlMs ?? ttlMsDefault
      if (!(ttlMs > 0 && ttlMs <= ttlMsMax)) throw new RangeError('an API key lives up to a year')
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
      await stream.commit(() => {
        if (directory.find(terms.owner) === null) throw new TypeError('the owner is not known')
        if (keys.size >= keysMax) throw new Error(`there are ${keysMax} API keys already`)
        if (keys.find(key.id) !== null) throw new Error('an API key of that id exists')
        return [keys.change(key.id, key)]
      })
      return { text: formatSecretText(kind, secret), key: withoutHash(key) }
    },
    list: () => [...keys.values()].map(withoutHash),
    remove: (id) => stream.commit(() => (keys.find(id) === null ? null : [keys.change(id, null)])),
    stands: (id) => keys.find(id) !== null,
    onRemove: (listener) => removed.add(listener),
    find: (text) => {
      const parsed = parseSecretText(kind, idLength, text)
      const key = parsed === null ? null : keys.find(parsed.id)
      if (parsed === null || key === null) return null
      return secretMatches(parsed.secret, key.hash) ? withoutHash(key) : null
    },
  }
}

function withoutHash(kept: KeptKey): ApiKey {
  const { hash: _, ...key } = kept
  return key
}

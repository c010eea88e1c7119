import { verify } from 'node:crypto'
import { expect, test } from 'vitest'
import { memorySecrets, testClock } from '../../../../../test/contracts/identity-lab.ts'
import type { KeyProvider } from '../../keys/key-provider.ts'
import { systemRandom } from '../../lib/random.ts'
import { storedKeys } from '../stored-keys/key-provider.ts'
import { TOKEN_OVERLAP_MS, type TokenKey, TokenKeys } from './token-key.ts'

/** Two processes that share the secrets, each with a count of its readings. */
function open() {
  const clock = testClock()
  const secrets = memorySecrets()
  const process = (change: Partial<KeyProvider> = {}) => {
    const stored = storedKeys({ secrets, clock, random: systemRandom })
    const counted = { reads: 0 }
    const provider: KeyProvider = {
      engine: stored.engine,
      open: (...asked) => {
        counted.reads += 1
        return stored.open(...asked)
      },
      sign: (...asked) => stored.sign(...asked),
      encrypt: (...asked) => stored.encrypt(...asked),
      decrypt: (...asked) => stored.decrypt(...asked),
      rotate: (...asked) => stored.rotate(...asked),
      ...change,
    }
    return { keys: new TokenKeys(provider, clock), counted, provider: stored }
  }
  return { clock, process }
}

const bytes = new TextEncoder().encode('head.claims')

async function newest(keys: TokenKeys): Promise<TokenKey> {
  const [key] = await keys.read()
  if (key === undefined) throw new Error('there is no key')
  return key
}

test('a rotation lets the version before verify for longer than a token lives, and no longer', async () => {
  const { clock, process } = open()
  const { keys } = process()
  const before = await newest(keys)
  const made = await keys.rotate()
  expect(made.version).toBe(before.version + 1)
  expect((await keys.read()).map(({ kid }) => kid)).toEqual([made.kid, before.kid])
  expect(await keys.find(before.kid)).toMatchObject({ version: before.version })
  clock.advance(TOKEN_OVERLAP_MS)
  // Before the versions are read again as well.
  expect(await keys.find(before.kid)).toBeNull()
  expect((await keys.read()).map(({ kid }) => kid)).toEqual([made.kid])
})

test('a process that reads nothing by itself refuses the version before in time', async () => {
  const { clock, process } = open()
  const [one, other] = [process(), process()]
  const before = await newest(other.keys)
  await one.keys.rotate()
  clock.advance(TOKEN_OVERLAP_MS)
  expect(other.keys.isAccepted(before.kid)).toBe(false)
  expect(await other.keys.find(before.kid)).toBeNull()
})

test('versions are read again behind a token, and decide nothing once they are too old', async () => {
  const { clock, process } = open()
  let away = false
  const stored = process().provider
  const { keys } = process({
    open: (...asked) => (away ? Promise.reject(new Error('away')) : stored.open(...asked)),
  })
  const { kid } = await newest(keys)
  clock.advance(TOKEN_OVERLAP_MS - 1)
  expect(keys.isAccepted(kid)).toBe(true)
  await keys.read()
  away = true
  clock.advance(TOKEN_OVERLAP_MS - 1)
  expect(await keys.find(kid)).not.toBeNull()
  clock.advance(1_000)
  expect(keys.isAccepted(kid)).toBe(false)
  await expect(keys.find(kid)).rejects.toThrow('away')
})

test('another process knows the new version with the first token of it, and signs with it', async () => {
  const { clock, process } = open()
  const [one, other] = [process(), process()]
  const before = await newest(other.keys)
  const made = await one.keys.rotate()
  clock.advance(1_000)
  const found = await other.keys.find(made.kid)
  expect(found?.kid).toBe(made.kid)
  const signature = await other.keys.sign(await newest(other.keys), bytes)
  const key = { key: made.publicKey, dsaEncoding: 'ieee-p1363' } as const
  expect(verify('sha256', bytes, key, signature)).toBe(true)
  await expect(other.keys.sign(before, bytes)).rejects.toThrow('rotated meanwhile')
})

test('made-up ids of keys lead to one reading in a second', async () => {
  const { clock, process } = open()
  const { keys, counted } = process()
  await keys.read()
  clock.advance(1_000)
  for (let i = 0; i < 100; i++) expect(await keys.find(`made-up-${i}`)).toBeNull()
  expect(counted.reads).toBe(2)
})

test('a provider that is away does not stop known tokens, and unknown ones are not decided', async () => {
  const { clock, process } = open()
  let away = false
  const stored = process().provider
  const { keys } = process({
    open: (...asked) => (away ? Promise.reject(new Error('away')) : stored.open(...asked)),
  })
  const { kid } = await newest(keys)
  away = true
  clock.advance(1_000)
  expect(await keys.find(kid)).not.toBeNull()
  await expect(keys.find('unknown')).rejects.toThrow('away')
  // Within the pause as well, in which the provider is not asked again.
  await expect(keys.find('unknown')).rejects.toThrow('away')
  away = false
  clock.advance(1_000)
  expect(await keys.find('unknown')).toBeNull()
})

test('a reading that was under way at a rotation does not hide the new version', async () => {
  const { process } = open()
  const stored = process().provider
  const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let reads = 0
  const { keys } = process({
    async open(...given) {
      const versions = await stored.open(...given)
      reads += 1
      if (reads !== 2) return versions
      asked.resolve()
      await answered.promise
      return versions
    },
    async rotate(...given) {
      const made = await stored.rotate(...given)
      answered.resolve()
      return made
    },
  })
  await keys.read()
  const reading = keys.read()
  await asked.promise
  const made = await keys.rotate()
  await reading
  expect((await keys.find(made.kid))?.kid).toBe(made.kid)
})

test('a process that ends in the middle of a rotation leaves one key that signs', async () => {
  const { process } = open()
  const first = process()
  const before = await newest(first.keys)
  const crashing = process({
    async rotate(...asked) {
      await first.provider.rotate(...asked)
      throw new Error('the process ended')
    },
  })
  await expect(crashing.keys.rotate()).rejects.toThrow('ended')
  const { keys } = process()
  const made = await newest(keys)
  expect(made.version).toBe(before.version + 1)
  expect(await keys.find(before.kid)).not.toBeNull()
  expect(await keys.sign(made, bytes)).toHaveLength(64)
  expect((await keys.rotate()).version).toBe(made.version + 1)
})

import { parseBase64, toBase64 } from '@countersign/protocol'
import type { Keyring } from '../../secrets/master-key.ts'

/** The optional peer and the range that this adapter was written against. */
export const keyringPeer = { name: '@napi-rs/keyring', range: '^1.1.6 || ^2.0.0' } as const

const service = 'countersign'

/** The part of the vendor's client that is used. */
interface Entry {
  getPassword(): Promise<string | null | undefined>
  setPassword(password: string): Promise<void>
}
interface Client {
  readonly AsyncEntry: new (service: string, account: string) => Entry
}

/**
 * Loads `specifier`; replaced in tests. A variable, so that nothing resolves it before it is used.
 */
export type LoadModule = (specifier: string) => Promise<unknown>
const loadModule: LoadModule = (specifier) => import(specifier)

/**
 * The keyring of the operating system: Keychain, Credential Manager or Secret Service. Rejects with
 * what to install where the client is missing.
 */
export async function openOsKeyring(load: LoadModule = loadModule): Promise<Keyring> {
  const client = await load(keyringPeer.name).catch((cause: unknown) => {
    throw new Error(
      `a master key in the keyring needs the package ${keyringPeer.name}; run: npm install ${keyringPeer.name}`,
      { cause },
    )
  })
  if (!isClient(client)) throw new Error(`${keyringPeer.name} is of an unknown version`)
  const entry = (account: string): Entry => new client.AsyncEntry(service, account)
  return {
    find: async (account) => {
      const text = (await entry(account).getPassword().catch(unusable)) ?? null
      if (text === null) return null
      const key = parseBase64(text)
      // An entry that is there but unreadable must not be taken for absent and then replaced.
      if (key === null) throw new Error(`the keyring entry ${account} is not a master key`)
      return key
    },
    put: (account, key) => entry(account).setPassword(toBase64(key)).catch(unusable),
  }
}

function unusable(cause: unknown): never {
  const why = cause instanceof Error ? cause.message : String(cause)
  throw new Error(
    `the keyring of this system cannot be used: ${why}; unlock it, or choose another \`masterKey.from\``,
    { cause },
  )
}

function isClient(value: unknown): value is Client {
  return (
    typeof value === 'object' &&
    value !== null &&
    'AsyncEntry' in value &&
    typeof value.AsyncEntry === 'function'
  )
}

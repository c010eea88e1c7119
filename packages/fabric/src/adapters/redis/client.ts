/** The optional peer and the range that these adapters were written against. */
export const redisPeer = { name: '@redis/client', range: '^6.3.0' } as const

/** The part of the vendor's client that is used. */
export interface Client {
  connect(): Promise<unknown>
  sendCommand(args: readonly string[]): Promise<unknown>
  /** Ends the connection at once, also one that hangs; commands in flight reject. */
  destroy(): void
  on(event: 'error' | 'end', listener: () => void): unknown
}

interface Module {
  createClient(options: object): Client
}

/**
 * Loads `specifier`; replaced in tests. A variable, so that nothing resolves it before it is used.
 */
export type LoadModule = (specifier: string) => Promise<unknown>
const loadModule: LoadModule = (specifier) => import(specifier)

/** Rejects with the name of the package to install where the client is missing. */
export async function loadRedisClient(load: LoadModule = loadModule): Promise<Module> {
  const { name } = redisPeer
  const loaded = await load(name).catch((cause: unknown) => {
    throw new Error(`counters in Redis need the package ${name}; run: npm install ${name}`, {
      cause,
    })
  })
  if (!isModule(loaded)) throw new Error(`${name} is of an unknown version`)
  return loaded
}

function isModule(value: unknown): value is Module {
  return (
    typeof value === 'object' &&
    value !== null &&
    'createClient' in value &&
    typeof value.createClient === 'function'
  )
}

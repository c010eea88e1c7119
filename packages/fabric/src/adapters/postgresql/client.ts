/** The optional peer and the range that these adapters were written against. */
export const postgresPeer = { name: 'pg', range: '^8.16.0' } as const

/** The part of the vendor's client that is used. */
export interface Client {
  /** Of the server's process that serves this connection. */
  readonly processID?: number
  connect(): Promise<void>
  query(query: Query): Promise<QueryResult>
  end(): Promise<void>
  on(event: 'error' | 'end', listener: () => void): unknown
  on(event: 'notification', listener: () => void): unknown
  on(event: 'notice', listener: (notice: Notice) => void): unknown
}

/** Without values it may hold several statements. */
export interface Query {
  readonly text: string
  readonly values?: readonly unknown[]
}

export interface QueryResult {
  /** The statement that was carried out: a COMMIT of a failed transaction is a ROLLBACK. */
  readonly command: string
  readonly rowCount: number | null
  readonly rows: readonly Row[]
}

export interface Notice {
  readonly severity?: string | undefined
  readonly message?: string | undefined
}

export type Row = Readonly<Record<string, unknown>>

interface Module {
  readonly Client: new (options: object) => Client
}

/**
 * Loads `specifier`; replaced in tests. A variable, so that nothing resolves it before it is used.
 */
export type LoadModule = (specifier: string) => Promise<unknown>
const loadModule: LoadModule = (specifier) => import(specifier)

/** Rejects with the name of the package to install where the client is missing. */
export async function loadPostgresClient(load: LoadModule = loadModule): Promise<Module> {
  const { name } = postgresPeer
  const loaded = await load(name).catch((cause: unknown) => {
    throw new Error(`state in PostgreSQL needs the package ${name}; run: npm install ${name}`, {
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
    'Client' in value &&
    typeof value.Client === 'function'
  )
}

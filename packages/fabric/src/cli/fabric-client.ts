import { join, resolve } from 'node:path'
import {
  type AdminArgs,
  type AdminOperation,
  type AdminResult,
  type FollowedEntry,
  MalformedError,
  parseAdminAnswer,
  parseFollowedEntry,
  parseStrictJson,
  parseUtf8,
  utf8,
  WATCH_OPERATION,
} from '@countersign/protocol'
import {
  AgentError,
  askControl,
  askHolder,
  type ConnectionResponse,
  EventParser,
  type FabricConnection,
  findRefusal,
  type Identity,
  openIdentity,
} from '@countersign/sdk'
import type { CliContext, ClientOptions } from './context.ts'
import { DATA_FILES, findDataFolder, requireRunning } from './data-folder.ts'
import { Failure } from './failure.ts'

/** A running fabric, as one enrolled identity reaches it. */
export interface FabricClient {
  readonly origin: string
  readonly identity: Identity
  /** Null when only an identity was named, which may be of a fabric elsewhere. */
  readonly dataDir: string | null
  /** Sends one administrative operation; rejects an answer that breaks the contract. */
  admin<Name extends AdminOperation>(
    operation: Name,
    args: AdminArgs<Name>,
  ): Promise<AdminResult<Name>>
  /** Every entry from now on, or after the cursor `after`, until `signal`. */
  watch(signal: AbortSignal, after?: string): AsyncGenerator<FollowedEntry>
}

/** An event is one ledger entry; the facts of an entry are bounded to less than this. */
const eventBytesMax = 1024 * 1024

/** Opens the operator's identity, or the one that `--identity` names, and closes it afterwards. */
export async function withFabric<T>(
  context: CliContext,
  options: ClientOptions,
  use: (client: FabricClient) => Promise<T>,
): Promise<T> {
  const dataDir =
    options.identity === undefined ? findDataFolder(options, context.environment) : null
  const running = dataDir === null ? null : await requireRunning(dataDir)
  const dir =
    dataDir === null ? resolve(options.identity ?? '') : join(dataDir, DATA_FILES.operator)
  const next =
    dataDir === null
      ? 'name the folder of an enrolled identity: an SDK keeps it in `dir`, a connector in `agents/<name>` of its data folder'
      : operatorMissing
  // Of several replicas on one data folder, the operator may have enrolled with another one.
  const at = running === null ? {} : { url: running.origin }
  const identity = await openStored(context, { dir, ...at }, next)
  try {
    return await use(clientOf(identity, running?.origin ?? identity.url, dataDir))
  } finally {
    identity.close()
  }
}

/** The operator of a data folder, at one of the fabrics that run on it. */
export async function withOperatorAt<T>(
  context: CliContext,
  { dataDir, origin: url }: { readonly dataDir: string; readonly origin: string },
  use: (client: FabricClient) => Promise<T>,
): Promise<T> {
  const dir = join(dataDir, DATA_FILES.operator)
  const identity = await openStored(context, { dir, url }, operatorMissing)
  try {
    return await use(clientOf(identity, url, dataDir))
  } finally {
    identity.close()
  }
}

const operatorMissing =
  'the first `countersign up` makes the operator; it writes this folder when it is ready'

async function openStored(
  { clock }: CliContext,
  { dir, ...at }: { readonly dir: string; readonly url?: string },
  next: string,
): Promise<Identity> {
  try {
    return await openIdentity({ join: undefined, dir, ...at, clock, onFault: () => undefined })
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'JOIN_MISSING') throw error
    throw new Failure('unreachable', `${dir} holds no identity`, next)
  }
}

export function clientOf(identity: Identity, origin: string, dataDir: string | null): FabricClient {
  const { connection } = identity
  return {
    origin,
    identity,
    dataDir,
    async admin(operation, args) {
      const path = '/v1/admin'
      const value = { operation, args }
      const answer = await askHolder(identity, (asked) =>
        askControl(asked, { method: 'POST', path, value }),
      )
      return byContract(operation, () => parseAdminAnswer(operation, answer))
    },
    async *watch(signal, after) {
      const response = await connection.request({
        method: 'POST',
        path: '/v1/admin',
        headers: [
          ['accept', 'text/event-stream'],
          ['content-type', 'application/json'],
        ],
        body: utf8(JSON.stringify({ operation: WATCH_OPERATION, args: { after } })),
        signal,
        repeatable: false,
      })
      try {
        const refusal = findRefusal(response.status, (name) => headerOf(response, name))
        if (refusal !== null) throw refusal
        yield* readEvents(response)
      } catch (error) {
        if (!signal.aborted) throw error
      } finally {
        response.discard()
      }
    },
  }
}

async function* readEvents(response: ConnectionResponse): AsyncGenerator<FollowedEntry> {
  const parser = new EventParser(eventBytesMax)
  for await (const chunk of response.body) {
    for (const { event } of parser.read(chunk)) {
      if (event === null) continue
      if (event.event === 'countersign-refusal') throw withdrawn(event.data)
      const { data } = event
      yield byContract(WATCH_OPERATION, () => parseFollowedEntry(parseStrictJson(data)))
    }
  }
  parser.end()
}

/** The operation was carried out, so a program must not take this for a refusal. */
function byContract<T>(operation: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    const what = `the fabric answered ${operation} in a form that this command cannot read`
    const next =
      'use the `countersign` of the version that the fabric runs: `countersign --version` prints this one'
    throw new Failure('unknown', `${what}: ${error.message}`, next)
  }
}

function withdrawn(data: string): Failure {
  const next = 'read `countersign agent show` of this identity, or ask another operator'
  return new Failure('refused', `the fabric ended the stream: ${data}`, next)
}

function headerOf({ headers }: ConnectionResponse, wanted: string): string | null {
  return headers.find(([name]) => name === wanted)?.[1] ?? null
}

/** The body of one request that is not JSON, such as a receipt. Throws the refusal it carries. */
export function fetchBytes({ identity }: FabricClient, path: string): Promise<Uint8Array> {
  return askHolder(identity, (connection) => fetchFrom(connection, path))
}

async function fetchFrom(connection: FabricConnection, path: string): Promise<Uint8Array> {
  const response = await connection.request({
    method: 'GET',
    path,
    headers: [],
    body: new Uint8Array(0),
    repeatable: true,
  })
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body) {
    length += chunk.length
    if (length > eventBytesMax) throw new AgentError('ANSWER_TOO_LARGE', path)
    chunks.push(chunk)
  }
  const refusal = findRefusal(response.status, (name) => headerOf(response, name))
  if (refusal !== null) throw refusal
  const bytes = Buffer.concat(chunks)
  if (response.status === 200) return new Uint8Array(bytes)
  throw new AgentError('ANSWER_MALFORMED', `status ${response.status}: ${parseUtf8(bytes)}`)
}

import {
  formatMeshEntry,
  joinMeshEntries,
  type MeshEntry,
  meshEntriesMax,
  meshFactsFault,
  parseUtf8,
  utf8,
} from '@countersign/protocol'
import type { Committed, EntryDraft } from '../../ledger/ledger.ts'
import { LedgerBusy } from '../../pipeline/record.ts'
import type { ConnectorAgent } from './connector-agent.ts'

/**
 * Entries that wait while a batch is under way. Beyond it no exchange begins; what closes one always
 * waits, and there are no more of those than exchanges that began.
 */
const waitingLimit = { name: 'mesh.waitingEntries', value: 4096, unit: 'count' } as const

/** Of one request: well below the body limit that a fabric has by default. */
const batchBytesMax = 1024 * 1024

interface Waiting {
  readonly entry: MeshEntry
  /** As it is sent. */
  readonly text: string
  resolve(committed: Committed): void
  reject(cause: unknown): void
}

/**
 * The fabric's ledger as a connector appends to it: batches gather while the one before is under
 * way, as in the ledger's own group commit, so that many exchanges share one round trip. An entry
 * is durable at the fabric when its promise resolves.
 */
export function remoteLedger(agent: Pick<ConnectorAgent, 'request'>): {
  append(draft: EntryDraft): Promise<Committed>
} {
  let waiting: Waiting[] = []
  let sending = false

  async function drain(): Promise<void> {
    sending = true
    while (waiting.length > 0) {
      const batch = nextBatch(waiting)
      waiting = waiting.slice(batch.length)
      await send(agent, batch)
    }
    sending = false
  }

  return {
    append(draft) {
      const entry = toMeshEntry(draft)
      // Alone, before it can spoil the batch that it would wait in.
      const fault = meshFactsFault(entry)
      if (fault !== null) return Promise.reject(new Error(`it cannot be recorded: ${fault}`))
      const text = formatMeshEntry(entry)
      return new Promise((resolve, reject) => {
        if (waiting.length >= waitingLimit.value && !closes(entry)) {
          reject(new LedgerBusy(waitingLimit, 'too many entries wait for the fabric'))
          return
        }
        waiting.push({ entry, text, resolve, reject })
        if (!sending) void drain()
      })
    },
  }
}

function nextBatch(waiting: readonly Waiting[]): readonly Waiting[] {
  let bytes = 0
  const end = waiting.findIndex((each, at) => {
    bytes += each.text.length
    return at === meshEntriesMax || (at > 0 && bytes > batchBytesMax)
  })
  return end === -1 ? waiting : waiting.slice(0, end)
}

async function send(
  agent: Pick<ConnectorAgent, 'request'>,
  batch: readonly Waiting[],
): Promise<void> {
  try {
    const answer = await agent.request({
      method: 'POST',
      path: '/v1/mesh/entries',
      body: utf8(joinMeshEntries(batch.map(({ text }) => text))),
      signal: AbortSignal.timeout(appendTimeoutMs),
    })
    if (answer.status === tooLarge && batch.length > 1) {
      // Nothing was recorded; a large entry must not take along those beside it.
      const middle = batch.length >> 1
      await send(agent, batch.slice(0, middle))
      await send(agent, batch.slice(middle))
      return
    }
    if (answer.status !== 200) throw failureOf(answer)
    const { indexes } = JSON.parse(parseUtf8(answer.body)) as {
      indexes: readonly (number | null)[]
    }
    for (const [at, { entry, resolve, reject }] of batch.entries()) {
      const index = indexes[at]
      if (index === undefined) throw new Error('the fabric answered for fewer entries')
      if (index === null) reject(new Error(`the fabric did not record ${entry.exchange}`))
      else
        resolve({ exchange: entry.exchange, kind: entry.kind, index, leafHash: new Uint8Array(0) })
    }
  } catch (cause) {
    for (const { reject } of batch) reject(cause)
  }
}

const closes = ({ kind }: MeshEntry): boolean => kind === 'outcome' || kind === 'indeterminate'

/** A limit that the fabric has reached is named to the connector's own caller; nothing was recorded. */
function failureOf({
  status,
  body,
}: {
  readonly status: number
  readonly body: Uint8Array
}): Error {
  const problem = problemIn(body)
  const [, name = '', value = ''] = /^([a-z]+\.[A-Za-z]{1,40}), (\d{1,16})$/.exec(problem) ?? []
  if (!isLimitName(name)) return new Error(`the fabric answered ${status}`)
  const limit = { name, value: Number(value), unit: 'count' } as const
  return new LedgerBusy(limit, `the fabric answered ${status}`)
}

function isLimitName(name: string): name is `${string}.${string}` {
  return name.includes('.')
}

/** The limit that Problem Details name; empty where they name none. */
function problemIn(body: Uint8Array): string {
  try {
    const { limit } = JSON.parse(parseUtf8(body)) as { readonly limit?: unknown }
    return typeof limit === 'string' ? limit : ''
  } catch {
    return ''
  }
}

const tooLarge = 413

/** Beyond it nobody knows whether the entries were recorded, and nothing may be delivered. */
const appendTimeoutMs = 10_000

function toMeshEntry({ kind, exchange, facts }: EntryDraft): MeshEntry {
  if (kind === 'genesis' || kind === 'lifecycle')
    throw new TypeError(`a connector records no ${kind}`)
  return { kind, exchange, facts }
}

import { hostname } from 'node:os'
import { join } from 'node:path'
import { openSqliteChannelRecords } from '../adapters/sqlite/channel-records.ts'
import { CHANNEL_LIMITS_DEFAULT, openSqliteChannelStore } from '../adapters/sqlite/channel-store.ts'
import { watchStorage } from '../adapters/sqlite/storage-fault.ts'
import { ChannelAuthority } from '../channels/channel-authority.ts'
import type { ChannelRecords } from '../channels/channel-records.ts'
import type { ChannelStore } from '../channels/channel-store.ts'
import { Channels } from '../channels/channels.ts'
import { noChannelRecords, noChannelStore } from '../channels/channels-elsewhere.ts'
import type { Config } from '../config/config.ts'
import type { Identity } from '../identity/identity.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Projection } from '../state/projection.ts'
import type { StateStream } from '../state/state-stream.ts'
import type { FabricKeys } from './keys.ts'
import type { Environment } from './stores.ts'

/** The files of the folder `channels`. */
export const CHANNEL_FILES = {
  messages: 'channels.sqlite',
  records: 'channel-records.sqlite',
} as const

/** The channels of this process, which serves them or refuses every operation on them. */
interface QueueParts {
  readonly channels: Channels
  readonly channelAuthority: ChannelAuthority
  readonly channelStore: ChannelStore
  /** The refusal of every operation on channels where another process serves them. */
  readonly channelsElsewhere: () => Refusal | null
  /** Copies the files of the channels into an empty folder; false where others have them. */
  readonly snapshot: (folder: string) => Promise<boolean>
}

export interface Queue {
  /** Asked for each use: a process that refused begins to serve when the one before has ended. */
  readonly present: QueueParts
  /** Ends every request that is held open; from then on no channels are taken over. */
  endWaits(): void
  close(): Promise<void>
}

type ClosableParts = QueueParts & { close(): Promise<void> }

interface QueueDeps {
  readonly environment: Pick<Environment, 'config' | 'clock' | 'random' | 'onFatal' | 'log'>
  readonly state: StateStream
  readonly identity: Pick<Identity, 'directory' | 'trustDomain'>
  readonly keys: Pick<FabricKeys, 'fabric'>
}

/** The data folder that has the channels of a fabric, and the process that serves them. */
interface Host {
  readonly folder: string
  readonly address: string
}

/** Of the one row of the table. */
const hostKey = 'host'

/** Between two tries to take over from a process of the same data folder that may have ended. */
const takeOverMs = 1_000

/**
 * Opens the channels, or refuses every operation on them where another process serves them: one
 * process of the same data folder, or one whose data folder has the messages of this fabric. The
 * former is replaced when it has ended, which its lock shows.
 */
export async function openQueue(deps: QueueDeps): Promise<Queue> {
  const { state, environment } = deps
  const hosts = state.project<Host>({ table: 'channels', parse: parseHost, format: JSON.stringify })
  const serve = () => tryServing(deps, hosts)
  const first = await serve()
  let present = typeof first === 'string' ? await openElsewhere(deps, hosts) : first
  let trying: Promise<void> | null = null
  let isEnding = false
  async function takeOver(): Promise<void> {
    const next = await serve()
    if (typeof next === 'string') return
    if (isEnding) return next.close()
    clearInterval(timer)
    const former = present
    present = next
    environment.log('channels taken over')
    await former.close()
  }
  const timer = setInterval(() => {
    const fail = (cause: unknown): void =>
      environment.log('channels not taken over', { error: String(cause) })
    // The next try may succeed.
    trying ??= takeOver()
      .catch(fail)
      .finally(() => {
        trying = null
      })
  }, takeOverMs).unref()
  if (first !== 'locked') clearInterval(timer)
  return {
    get present() {
      return present
    },
    endWaits() {
      isEnding = true
      clearInterval(timer)
      present.channels.close()
    },
    async close() {
      isEnding = true
      clearInterval(timer)
      await trying
      await present.close()
    },
  }
}

/** Other processes may have the file open (`locked`), or another folder has the messages. */
async function tryServing(
  deps: QueueDeps,
  hosts: Projection<Host>,
): Promise<ClosableParts | 'locked' | 'hosted'> {
  const directory = join(deps.environment.config.dataDir, 'channels')
  const records = openRecordsAlone(deps, directory)
  if (records === null) return 'locked'
  try {
    if (await becomeHost(deps, hosts, records.folder)) {
      return await openServing(deps, records, directory)
    }
  } catch (cause) {
    await records.close()
    throw cause
  }
  await records.close()
  return 'hosted'
}

function openElsewhere(deps: QueueDeps, hosts: Projection<Host>): Promise<ClosableParts> {
  const { environment } = deps
  const elsewhere = (): Refusal => {
    const address = hosts.find(hostKey)?.address ?? 'another process of this data folder'
    const detail = `the channels are served by ${address}`
    return new Refusal('RECEIVER_UNREACHABLE', detail, null, { byOthers: true })
  }
  environment.log('channels not served here', { reason: elsewhere().detail })
  return openParts(deps, {
    records: noChannelRecords,
    store: async () => noChannelStore,
    elsewhere,
  })
}

/** Null while another process has them open; the lock ends with that process. */
function openRecordsAlone(
  { environment: { random, onFatal } }: QueueDeps,
  directory: string,
): ChannelRecords | null {
  try {
    return watchStorage(openSqliteChannelRecords(directory, random), (cause) =>
      onFatal('the channels cannot be kept', cause),
    )
  } catch (error) {
    if (error instanceof Error && error.message.includes('database is locked')) return null
    throw error
  }
}

/**
 * Resolves to false where the messages of this fabric are in another data folder: what was
 * published there would not be found here. The first folder stays the one.
 */
function becomeHost(
  { environment: { config }, state }: QueueDeps,
  hosts: Projection<Host>,
  folder: string,
): Promise<boolean> {
  const own = { folder, address: addressOf(config) }
  return state.commit(() => {
    const present = hosts.find(hostKey)
    if (present !== null && present.folder !== folder) return null
    return present?.address === own.address ? [] : [hosts.change(hostKey, own)]
  })
}

function addressOf({ listen, dataDir }: Config): string {
  return listen.publicUrl ?? `${hostname()}, ${dataDir}`
}

function parseHost(_: string, text: string): Host {
  const { folder, address } = JSON.parse(text) as Partial<Host>
  if (typeof folder === 'string' && typeof address === 'string') return { folder, address }
  throw new TypeError('the host of the channels is not a folder and an address')
}

function openServing(deps: QueueDeps, records: ChannelRecords, directory: string) {
  const { clock, random, onFatal } = deps.environment
  return openParts(deps, {
    records,
    elsewhere: () => null,
    store: (authority) =>
      openSqliteChannelStore({
        ...{ directory, clock, random },
        onFatal: (error) => onFatal('the channels cannot be kept', error),
        limitsOf: (name) => authority.find(name)?.bounds ?? CHANNEL_LIMITS_DEFAULT,
      }),
  })
}

interface Parts {
  readonly records: ChannelRecords
  readonly store: (authority: ChannelAuthority) => Promise<ChannelStore>
  readonly elsewhere: () => Refusal | null
}

async function openParts(
  { environment: { clock, onFatal }, identity, keys: { fabric } }: QueueDeps,
  { records, store: openStore, elsewhere }: Parts,
): Promise<ClosableParts> {
  const { directory: agents, trustDomain } = identity
  const findAgent = (name: string) => agents.find(name)
  const authority = await ChannelAuthority.open({
    ...{ records, findAgent, trustDomain, clock },
    signer: fabric,
  })
  const store = await openStore(authority)
  // A quarantined member loses its part: the next message is sealed without it.
  const stop = agents.onChange((record) => {
    authority.agentChanged(record.name).catch((error: unknown) => {
      onFatal('a channel could not change its members', error)
    })
  })
  const channels = new Channels({
    ...{ store, records, authority, findAgent, trustDomain, clock, elsewhere },
  })
  return {
    channels,
    channelAuthority: authority,
    channelStore: store,
    channelsElsewhere: elsewhere,
    async snapshot(folder) {
      if (elsewhere() !== null) return false
      // Messages first: each is of an epoch that the records, which are newer, have.
      await store.snapshot(join(folder, CHANNEL_FILES.messages))
      await records.snapshot(join(folder, CHANNEL_FILES.records))
      return true
    },
    async close() {
      stop()
      channels.close()
      await store.close()
      await records.close()
    },
  }
}

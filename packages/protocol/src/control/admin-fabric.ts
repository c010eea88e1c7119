import {
  type Reader,
  readFlag,
  readList,
  readObject,
  readOneOf,
  readText,
  readWhole,
} from './admin-reader.ts'
import type { RouteReliability, RouteSettings } from './route-reliability.ts'

export interface SlotView {
  readonly slot: string
  /** False while no process has its lease. */
  readonly isHeld: boolean
  /** `https://host:port` of its holder, or of the last one; empty where it is not known. */
  readonly address: string
}

/** A part of the fabric that follows its log, such as detection. */
export interface ConsumerView {
  readonly name: string
  /** Index of the next entry that it takes. */
  readonly position: number
  /** Durable entries that it has not taken yet. */
  readonly behind: number
  /** Entries that it could not open, such as erased ones. */
  readonly skipped: number
  /** The position that is durable: a start reads the entries from there on. */
  readonly saved: number
}

/** A reader that follows the log over a connection, such as `ledger follow` or a console. */
export interface FollowerView {
  /** Its principal. */
  readonly reader: string
  /** Index of the next entry that it is sent. Its own durable position may be before it. */
  readonly position: number
  /** Durable entries that it was not sent yet. */
  readonly behind: number
}

export interface FabricStatus {
  readonly version: string
  readonly trustDomain: string
  readonly origin: string
  /** The log of this process; its entries before `first` were pruned. */
  readonly ledger: {
    readonly slot: string
    readonly first: number
    readonly size: number
    readonly vkey: string
  }
  /** Every log slot of the fabric. */
  readonly slots: readonly SlotView[]
  /** Of the log of this process. */
  readonly consumers: readonly ConsumerView[]
  /** Likewise, those that are connected now. */
  readonly followers: readonly FollowerView[]
  /** As `countersign up` and `countersign verify` print it. */
  readonly trustFingerprint: string
  readonly policyVersion: string
  readonly agents: number
  readonly memoryBytes: number
  readonly uptimeMs: number
}

/** The snapshots that a process made of what it alone can read, and the part of its log to copy. */
export interface BackupMade {
  /** The log of this process; the snapshots are in `backup/<slot>/<folder>` of its data folder. */
  readonly slot: string
  readonly folder: string
  /** The public checkpoint covers at least so many entries. */
  readonly size: number
  /** Unix milliseconds of the newest head. */
  readonly headAt: number
  /** False where another process serves the channels, or none does. */
  readonly channels: boolean
}

const protocols = ['a2a', 'mcp', 'http', 'auto'] as const

export interface RouteView {
  readonly name: string
  readonly urls: readonly string[]
  readonly protocol: (typeof protocols)[number]
  readonly source: 'configured' | 'registered'
  /** Those in force, with the defaults where the operator has set nothing. */
  readonly settings: RouteReliability
}

export interface RoutePutArgs {
  readonly name: string
  readonly upstream: string
  readonly protocol?: RouteView['protocol'] | undefined
  /** Those that differ from the defaults; an entry of the operator's file takes precedence. */
  readonly settings?: RouteSettings | undefined
}

/** The route as it is stored. */
export interface StoredRoute {
  readonly name: string
  readonly upstream: string
  readonly protocol: RouteView['protocol']
}

/** False when there was no configured route of that name. */
export interface RemovedRoute {
  readonly removed: boolean
}

export const readBackupMade: Reader<BackupMade> = readObject<BackupMade>({
  slot: readText,
  folder: readText,
  size: readWhole,
  headAt: readWhole,
  channels: readFlag,
})

export const readFabricStatus: Reader<FabricStatus> = readObject<FabricStatus>({
  version: readText,
  trustDomain: readText,
  origin: readText,
  ledger: readObject({ slot: readText, first: readWhole, size: readWhole, vkey: readText }),
  slots: readList(readObject<SlotView>({ slot: readText, isHeld: readFlag, address: readText })),
  consumers: readList(
    readObject<ConsumerView>({
      ...{ name: readText, position: readWhole, behind: readWhole, skipped: readWhole },
      saved: readWhole,
    }),
  ),
  followers: readList(
    readObject<FollowerView>({ reader: readText, position: readWhole, behind: readWhole }),
  ),
  trustFingerprint: readText,
  policyVersion: readText,
  agents: readWhole,
  memoryBytes: readWhole,
  uptimeMs: readWhole,
})

const readSettings: Reader<RouteReliability> = readObject<RouteReliability>({
  timeouts: readObject<RouteReliability['timeouts']>({
    ...{ connectMs: readWhole, firstByteMs: readWhole, tryMs: readWhole, exchangeMs: readWhole },
    streamIdleMs: readWhole,
  }),
  retries: readObject<RouteReliability['retries']>({
    ...{ attempts: readWhole, resend: readFlag, idempotencyKey: readFlag },
    ...{ operations: readList(readText), backoffMs: readWhole, backoffMaxMs: readWhole },
    ...{ retryAfterMaxMs: readWhole, budgetPercent: readWhole, budgetMin: readWhole },
  }),
  breaker: readObject<RouteReliability['breaker']>({
    ...{ failures: readWhole, successPercent: readWhole, minRequests: readWhole },
    ...{ windowMs: readWhole, ejectMs: readWhole, ejectMaxMs: readWhole },
    ejectedPercent: readWhole,
  }),
  streams: readObject<RouteReliability['streams']>({
    permit: readOneOf(['response', 'request', 'both']),
    ...{ frameBytes: readWhole, frames: readWhole, bytes: readWhole, idleMs: readWhole },
  }),
})

export const readRouteView: Reader<RouteView> = readObject<RouteView>({
  name: readText,
  urls: readList(readText),
  protocol: readOneOf(protocols),
  source: readOneOf(['configured', 'registered']),
  settings: readSettings,
})

export const readStoredRoute: Reader<StoredRoute> = readObject<StoredRoute>({
  name: readText,
  upstream: readText,
  protocol: readOneOf(protocols),
})

export const readRemovedRoute: Reader<RemovedRoute> = readObject<RemovedRoute>({
  removed: readFlag,
})

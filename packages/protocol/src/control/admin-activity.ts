import {
  type Reader,
  readList,
  readNullable,
  readNumber,
  readObject,
  readOneOf,
  readText,
  readWhole,
} from './admin-reader.ts'

/** The windows of activity: parts of five minutes up to an hour, or of an hour up to a day. */
export const ACTIVITY_WINDOWS = ['hour', 'day'] as const

export interface ActivityArgs {
  readonly window?: (typeof ACTIVITY_WINDOWS)[number] | undefined
  /** Only edges of this caller or receiver: a name, or the canonical form of a principal. */
  readonly name?: string | undefined
  readonly countMax?: number | undefined
}

/** The time from the intent to the outcome, in ms; quantiles are at most a fifth too high. */
export interface LatencyView {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly longest: number
}

/** The exchanges of one caller with one receiver that ended in a window. */
export interface EdgeView {
  /** The bare name of a principal of the trust domain; the canonical form of any other. */
  readonly caller: string
  readonly kind: (typeof kinds)[number]
  /** Likewise; `(unknown)` stands for all names that the fabric does not know. */
  readonly receiver: string
  readonly exchanges: number
  readonly perMinute: number
  readonly delivered: number
  /** Denied, withheld, or refused by the receiver. */
  readonly refused: number
  /** Cut, broken or abandoned after delivery. */
  readonly failed: number
  /** It is not known whether the receiver acted. */
  readonly unknown: number
  /** Null where nothing was sent. */
  readonly latency: LatencyView | null
  readonly requestBytes: number
  readonly responseBytes: number
  /** Unix milliseconds of the newest exchange. */
  readonly at: number
}

/** The activity in the log of one slot. */
export interface ActivityView {
  readonly slot: string
  readonly window: (typeof ACTIVITY_WINDOWS)[number]
  /** Unix milliseconds. The first part of the window begins at `from`. */
  readonly from: number
  readonly to: number
  /** Most exchanges first. */
  readonly edges: readonly EdgeView[]
  /** Edges that match, also those beyond `countMax`. */
  readonly found: number
}

const kinds = ['agent', 'channel'] as const

const readEdge: Reader<EdgeView> = readObject<EdgeView>({
  ...{ caller: readText, kind: readOneOf(kinds), receiver: readText },
  ...{ exchanges: readWhole, perMinute: readNumber },
  ...{ delivered: readWhole, refused: readWhole, failed: readWhole, unknown: readWhole },
  latency: readNullable(
    readObject<LatencyView>({ p50: readWhole, p95: readWhole, p99: readWhole, longest: readWhole }),
  ),
  ...{ requestBytes: readWhole, responseBytes: readWhole, at: readWhole },
})

export const readActivityView: Reader<ActivityView> = readObject<ActivityView>({
  ...{ slot: readText, window: readOneOf(ACTIVITY_WINDOWS), from: readWhole, to: readWhole },
  ...{ edges: readList(readEdge), found: readWhole },
})

import { MalformedError } from '../encoding/malformed-error.ts'
import { a2aOperations, isMcpMethod } from './agent-operations.ts'

/** Bounds on time. A route can only shorten what the fabric permits in general. */
export interface RouteTimeouts {
  /** To open a connection to one endpoint. */
  readonly connectMs: number
  /** From the last byte of the request to the end of the response's head. */
  readonly firstByteMs: number
  /** One attempt: waiting for a connection, sending, and the response's head. */
  readonly tryMs: number
  /** All attempts, until the response begins, and until its end if it is not a stream. */
  readonly exchangeMs: number
  /** Silence within a response that has begun, such as a stream of events. */
  readonly streamIdleMs: number
}

export interface RouteRetries {
  /** Attempts of one exchange, the first one included. */
  readonly attempts: number
  /** Permits another attempt after a byte was sent, for what is idempotent. */
  readonly resend: boolean
  /** The receiver honours `Idempotency-Key`: a request that carries one counts as idempotent. */
  readonly idempotencyKey: boolean
  /**
   * Operations that the operator knows to be idempotent, in addition to those that are so by their
   * protocol: `tools/list`, `SendMessage`, or `tools/call` with a blank and the name of one tool.
   */
  readonly operations: readonly string[]
  readonly backoffMs: number
  readonly backoffMaxMs: number
  /** A receiver that asks for a longer pause by `Retry-After` is not sent the request again. */
  readonly retryAfterMaxMs: number
  /** Repeats under way, in percent of the route's requests under way. */
  readonly budgetPercent: number
  /** As many repeats may be under way in any case. */
  readonly budgetMin: number
}

/** Of each endpoint of the route. */
export interface RouteBreaker {
  /** Failures in a row that eject an endpoint. */
  readonly failures: number
  /** An endpoint of which fewer requests than this succeed is ejected too; 0 for none. */
  readonly successPercent: number
  /** Results within `windowMs` without which `successPercent` decides nothing. */
  readonly minRequests: number
  readonly windowMs: number
  /** Duration of the first ejection; it doubles with each further one. */
  readonly ejectMs: number
  readonly ejectMaxMs: number
  /** The share of the endpoints that may be ejected at a time. */
  readonly ejectedPercent: number
}

/** The messages of a route that may be streams, and the bounds of a streamed request. */
export interface RouteStreams {
  /**
   * `response`: responses of server-sent events, as on every route. `request`: requests too.
   * `both`: a streamed request may also be answered by frames of its own codec.
   */
  readonly permit: StreamPermit
  /** Of one frame: it is held whole before it may pass. */
  readonly frameBytes: number
  /** Of one request. */
  readonly frames: number
  /** Of the frames of one request together. */
  readonly bytes: number
  /** Within which each further frame of a request has to come whole. */
  readonly idleMs: number
}

export type StreamPermit = 'response' | 'request' | 'both'

const permits: ReadonlySet<unknown> = new Set<StreamPermit>(['response', 'request', 'both'])

/** The bounds of a route on time, repeats, endpoints that fail, and streams. */
export interface RouteReliability {
  readonly timeouts: RouteTimeouts
  readonly retries: RouteRetries
  readonly breaker: RouteBreaker
  readonly streams: RouteStreams
}

/** Those settings that an operator has made; all others have their defaults. */
export type RouteSettings = {
  readonly [Group in keyof RouteReliability]?:
    | { readonly [Key in keyof RouteReliability[Group]]?: RouteReliability[Group][Key] | undefined }
    | undefined
}

type Numbers<Group> = {
  readonly [Key in keyof Group as Group[Key] extends number ? Key : never]: WholeBounds
}

interface WholeBounds {
  readonly min: number
  readonly max: number
  readonly byDefault: number
}

const whole = (min: number, max: number, byDefault: number): WholeBounds => ({
  ...{ min, max, byDefault },
})

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** The bounds and the default of each setting that is a number. */
export const ROUTE_BOUNDS = {
  timeouts: {
    connectMs: whole(50, 60_000, 5_000),
    firstByteMs: whole(50, hourMs, hourMs),
    tryMs: whole(50, hourMs, hourMs),
    exchangeMs: whole(50, hourMs, hourMs),
    streamIdleMs: whole(50, dayMs, dayMs),
  },
  retries: {
    attempts: whole(1, 10, 3),
    backoffMs: whole(1, 10_000, 25),
    backoffMaxMs: whole(1, 60_000, 250),
    retryAfterMaxMs: whole(0, 60_000, 5_000),
    budgetPercent: whole(0, 100, 20),
    budgetMin: whole(0, 100, 3),
  },
  breaker: {
    failures: whole(1, 1_000, 7),
    successPercent: whole(0, 100, 0),
    minRequests: whole(1, 100_000, 100),
    windowMs: whole(1_000, 600_000, 10_000),
    ejectMs: whole(1, 600_000, 1_000),
    ejectMaxMs: whole(1, 3_600_000, 60_000),
    ejectedPercent: whole(0, 100, 50),
  },
  streams: {
    frameBytes: whole(1_024, 4 * 1024 * 1024, 1024 * 1024),
    frames: whole(1, 100_000_000, 1_000_000),
    bytes: whole(1_024, 2 ** 44, 4 * 2 ** 30),
    idleMs: whole(50, hourMs, 60_000),
  },
} as const satisfies {
  readonly [Group in keyof RouteReliability]: Numbers<RouteReliability[Group]>
}

export const routeOperationsMax = 64
const operationLengthMax = 256

/** Reads the settings of one route and adds the defaults. Throws a MalformedError on others. */
export function parseRouteSettings(value: unknown): RouteReliability {
  const { timeouts, retries, breaker, streams } = members(value ?? {}, 'settings', [
    ...['timeouts', 'retries', 'breaker', 'streams'],
  ])
  const retried = members(retries ?? {}, 'retries', [
    ...Object.keys(ROUTE_BOUNDS.retries),
    ...['resend', 'idempotencyKey', 'operations'],
  ])
  const { resend = false, idempotencyKey = false, operations = [] } = retried
  if (typeof resend !== 'boolean' || typeof idempotencyKey !== 'boolean') {
    throw new MalformedError('retries: resend and idempotencyKey are true or false')
  }
  return {
    timeouts: wholesOf(timeouts, 'timeouts'),
    retries: {
      ...wholesOf(pick(retried, Object.keys(ROUTE_BOUNDS.retries)), 'retries'),
      ...{ resend, idempotencyKey, operations: parseOperations(operations) },
    },
    breaker: wholesOf(breaker, 'breaker'),
    streams: parseStreams(streams),
  }
}

function parseStreams(value: unknown): RouteStreams {
  const bounds = Object.keys(ROUTE_BOUNDS.streams)
  const given = members(value ?? {}, 'streams', [...bounds, 'permit'])
  const { permit = 'response' } = given
  if (!permits.has(permit)) {
    throw new MalformedError('streams.permit is response, request or both')
  }
  const read = wholesOf(pick(given, bounds), 'streams')
  return { ...read, permit: permit as StreamPermit }
}

/** Reports whether `parseRouteSettings` takes the value. */
export function isRouteSettings(value: unknown): value is RouteSettings {
  try {
    parseRouteSettings(value)
    return true
  } catch {
    return false
  }
}

export const ROUTE_DEFAULTS: RouteReliability = parseRouteSettings({})

/** The reason why an operator cannot declare `operation` idempotent; null if it can be. */
export function routeOperationFault(operation: string): string | null {
  const [method = '', tool, ...rest] = operation.split(' ')
  if (operation.length > operationLengthMax) return 'the name of an operation is too long'
  if (rest.length > 0 || tool === '') return 'an operation is a name, or tools/call and one tool'
  if (tool !== undefined && method !== 'tools/call') return 'only tools/call has a tool'
  if (method === 'tools/call' && tool === undefined) {
    return 'tools/call alone would be every tool: add the name of one'
  }
  const isKnown = isMcpMethod(method) || [...a2aOperations.values()].includes(method)
  return isKnown ? null : 'neither an operation of A2A nor a method of MCP'
}

function parseOperations(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > routeOperationsMax) {
    throw new MalformedError(`retries.operations is a list of at most ${routeOperationsMax} names`)
  }
  return value.map((operation: unknown) => {
    const fault = typeof operation === 'string' ? routeOperationFault(operation) : 'not a text'
    if (fault !== null) throw new MalformedError(`retries.operations: ${fault}`)
    return operation as string
  })
}

function wholesOf<Group extends keyof typeof ROUTE_BOUNDS>(
  value: unknown,
  group: Group,
): Readonly<Record<keyof (typeof ROUTE_BOUNDS)[Group], number>> {
  const bounds: Readonly<Record<string, WholeBounds>> = ROUTE_BOUNDS[group]
  const given = members(value ?? {}, group, Object.keys(bounds))
  const read = Object.entries(bounds).map(([key, { min, max, byDefault }]) => {
    const number = given[key] ?? byDefault
    const isWithin =
      typeof number === 'number' && Number.isSafeInteger(number) && number >= min && number <= max
    if (!isWithin) throw new MalformedError(`${group}.${key} is a whole number, ${min} to ${max}`)
    return [key, number] as const
  })
  // Every key of the group is there; `fromEntries` forgets which.
  return Object.fromEntries(read) as Record<keyof (typeof ROUTE_BOUNDS)[Group], number>
}

type Members = Readonly<Record<string, unknown>>

function members(value: unknown, where: string, names: readonly string[]): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError(`${where} is not an object`)
  }
  const unknown = Object.keys(value).filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new MalformedError(`${where} has no ${unknown.join(', ')}`)
  return value as Members
}

function pick(from: Members, names: readonly string[]): Members {
  return Object.fromEntries(
    names.filter((name) => Object.hasOwn(from, name)).map((name) => [name, from[name]]),
  )
}

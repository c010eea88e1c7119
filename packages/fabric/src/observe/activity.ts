import { MapCopy } from '../concurrency/map-copy.ts'
import { addLatencies, countLatency, quantileOf } from './latency-classes.ts'

export interface ActivityLimits {
  /** Receivers that are remembered of one caller. */
  readonly edgesPerCaller: number
  /** Those of all callers: where there are more, none has more than an equal share. */
  readonly edges: number
}

export const activityLimits: ActivityLimits = { edgesPerCaller: 256, edges: 4_096 }

export const activityResults = ['delivered', 'refused', 'failed', 'unknown'] as const
export type ActivityResult = (typeof activityResults)[number]

/** One exchange that has ended. */
export interface EdgeEvent {
  /** Unix milliseconds of its end. */
  readonly at: number
  readonly caller: string
  readonly kind: 'agent' | 'channel'
  readonly receiver: string
  readonly result: ActivityResult
  /** From the intent to the outcome; null for what was not delivered. */
  readonly latencyMs: number | null
  readonly requestBytes: number
  readonly responseBytes: number
}

/** The windows that can be read, each in parts. */
export const activityWindows = {
  hour: { partMs: 5 * 60_000, parts: 12 },
  day: { partMs: 3_600_000, parts: 24 },
} as const
export type ActivityWindow = keyof typeof activityWindows
const windowNames = ['hour', 'day'] as const satisfies readonly ActivityWindow[]

/** A part of a window; `part` is its start in lengths of a part. */
interface Part {
  readonly part: number
  /** As `activityResults`. */
  readonly results: number[]
  readonly latencies: number[]
  longestMs: number
  requestBytes: number
  responseBytes: number
}

interface Edge {
  readonly kind: EdgeEvent['kind']
  readonly receiver: string
  /** Of the newest exchange. */
  at: number
  readonly hour: Part[]
  readonly day: Part[]
}

/** Edges of one caller, least recently used first. */
type Edges = Map<string, Edge>

/** The exchanges of an edge in a window. */
export interface EdgeActivity extends Readonly<Record<ActivityResult, number>> {
  readonly caller: string
  readonly kind: EdgeEvent['kind']
  readonly receiver: string
  readonly exchanges: number
  readonly latency: {
    readonly p50: number
    readonly p95: number
    readonly p99: number
    readonly longest: number
  } | null
  readonly requestBytes: number
  readonly responseBytes: number
  readonly at: number
}

/** The window as of `now`: its first part begins at `from`, and its last one is not over. */
export interface WindowActivity {
  readonly from: number
  readonly edges: readonly EdgeActivity[]
}

/**
 * The exchanges of each caller with each receiver, in parts of the last hour and of the last day.
 * The state follows from what it is shown alone, with the times that are stated there.
 */
export class Activity {
  readonly #limits: ActivityLimits
  /** Least recently seen first. */
  readonly #callers = new Map<string, Edges>()
  #edges = 0
  #copy: MapCopy<Edges> | null = null

  constructor(limits: Partial<ActivityLimits> = {}) {
    this.#limits = { ...activityLimits, ...limits }
  }

  get size(): number {
    return this.#edges
  }

  observe(event: EdgeEvent): void {
    const { caller, kind, receiver } = event
    this.#copy?.keep(caller)
    const edges: Edges = this.#callers.get(caller) ?? new Map<string, Edge>()
    this.#callers.delete(caller)
    this.#callers.set(caller, edges)
    const key = `${kind} ${receiver}`
    const known = edges.get(key)
    const edge = known ?? { kind, receiver, at: event.at, hour: [], day: [] }
    edges.delete(key)
    edges.set(key, edge)
    if (known === undefined) this.#edges += 1
    edge.at = Math.max(edge.at, event.at)
    for (const name of windowNames) countPart(edge[name], event, activityWindows[name])
    this.#evict(edges)
  }

  read(window: ActivityWindow, now: number): WindowActivity {
    const { partMs, parts } = activityWindows[window]
    const first = Math.floor(now / partMs) - parts + 1
    const found: EdgeActivity[] = []
    for (const [caller, edges] of this.#callers) {
      for (const edge of edges.values()) {
        const summed = sumParts(edge[window].filter(({ part }) => part >= first))
        const { kind, receiver, at } = edge
        if (summed.exchanges > 0) found.push({ caller, kind, receiver, at, ...summed })
      }
    }
    return { from: first * partMs, edges: found }
  }

  /** One line for each caller, as it is at the call; one such copy can be taken at a time. */
  lines(): Iterable<string> {
    this.#copy = new MapCopy(this.#callers, (caller, edges) =>
      JSON.stringify([caller, [...edges.values()]]),
    )
    return this.#copy.lines()
  }

  /** Takes the place of all edges. Throws a TypeError on another line. */
  restore(lines: Iterable<string>): void {
    const restored = [...lines].map(parseCaller)
    this.#callers.clear()
    this.#copy = null
    this.#edges = 0
    for (const [caller, edges] of restored) {
      this.#callers.set(caller, edges)
      this.#edges += edges.size
    }
  }

  /** Removes all edges of the callers and receivers of those names. One step for each caller. */
  *forget(isForgotten: (name: string) => boolean): Generator<void, void> {
    for (const caller of [...this.#callers.keys()]) {
      yield
      const edges = this.#callers.get(caller)
      if (edges === undefined) continue
      this.#copy?.keep(caller)
      const isGone = isForgotten(caller)
      for (const [key, { kind, receiver }] of [...edges]) {
        if (isGone || (kind === 'agent' && isForgotten(receiver))) this.#delete(edges, key)
      }
      if (edges.size === 0) this.#callers.delete(caller)
    }
  }

  #evict(own: Edges): void {
    const { edges, edgesPerCaller } = this.#limits
    const isFull = this.#edges > edges
    const share = Math.max(1, Math.floor(edges / this.#callers.size))
    const most = isFull ? Math.min(edgesPerCaller, share) : edgesPerCaller
    const [oldest] = own.keys()
    if (own.size > most && oldest !== undefined) this.#delete(own, oldest)
    while (this.#edges > edges) {
      const [longest] = this.#callers
      if (longest === undefined) return
      const [caller, unseen] = longest
      this.#copy?.keep(caller)
      const [key] = unseen.keys()
      if (key !== undefined) this.#delete(unseen, key)
      if (unseen.size === 0) this.#callers.delete(caller)
    }
  }

  #delete(edges: Edges, key: string): void {
    if (edges.delete(key)) this.#edges -= 1
  }
}

/** Times of connectors are their own; a part that is over for this edge does not come back. */
function countPart(
  all: Part[],
  event: EdgeEvent,
  { partMs, parts }: { readonly partMs: number; readonly parts: number },
): void {
  const part = Math.floor(event.at / partMs)
  const newest = Math.max(part, all.at(-1)?.part ?? part)
  while (all[0] !== undefined && all[0].part <= newest - parts) all.shift()
  if (part <= newest - parts) return
  let found = all.findLast((each) => each.part === part)
  if (found === undefined) {
    found = {
      ...{ part, results: activityResults.map(() => 0), latencies: [] },
      ...{ longestMs: 0, requestBytes: 0, responseBytes: 0 },
    }
    all.push(found)
    all.sort((a, b) => a.part - b.part)
  }
  const at = activityResults.indexOf(event.result)
  found.results[at] = (found.results[at] ?? 0) + 1
  found.requestBytes += event.requestBytes
  found.responseBytes += event.responseBytes
  if (event.latencyMs === null) return
  found.longestMs = Math.max(found.longestMs, event.latencyMs)
  countLatency(found.latencies, event.latencyMs)
}

function sumParts(parts: readonly Part[]) {
  const results = { delivered: 0, refused: 0, failed: 0, unknown: 0 }
  const latencies: number[] = []
  let [exchanges, longest, requestBytes, responseBytes] = [0, 0, 0, 0]
  for (const part of parts) {
    for (const [at, name] of activityResults.entries()) {
      const count = part.results[at] ?? 0
      results[name] += count
      exchanges += count
    }
    addLatencies(latencies, part.latencies)
    longest = Math.max(longest, part.longestMs)
    requestBytes += part.requestBytes
    responseBytes += part.responseBytes
  }
  const quantile = (share: number): number => quantileOf(latencies, share, longest)
  const latency =
    latencies.length === 0
      ? null
      : { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), longest }
  return { ...results, exchanges, latency, requestBytes, responseBytes }
}

/** The file is authentic, so that its parts are those that were written. */
function parseCaller(line: string): [string, Edges] {
  const parsed: unknown = JSON.parse(line)
  if (!Array.isArray(parsed) || typeof parsed[0] !== 'string' || !Array.isArray(parsed[1])) {
    throw new TypeError('this is not the activity of a caller')
  }
  const edges = parsed[1] as readonly Edge[]
  return [parsed[0], new Map(edges.map((edge) => [`${edge.kind} ${edge.receiver}`, edge]))]
}

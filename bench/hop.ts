import type { FabricReady } from './fabric-process.ts'
import type { LoadAnswer, LoadOrder } from './load-process.ts'
import type { Percentiles } from './percentiles.ts'
import type { Child } from './process.ts'

/**
 * Requests that precede every measured load. Compiling the hot path of the gateway takes that many,
 * and its cost does not apply to a server that has been up for an hour.
 */
const warmRequests = 20_000

/** Concurrent requests of a closed loop, and the most connections that carry them. */
export const connections = 32

/** The two processes that a hop is put between, and the length of each measured load. */
export interface Bench {
  readonly load: Child<object>
  /** URL of the receiver. */
  readonly direct: string
  readonly seconds: number
}

/** The processes that a load is measured on; `pidsBeside` are counted apart. */
export interface Measured {
  readonly pids: readonly number[]
  readonly pidsBeside?: readonly number[]
}

export interface Taken extends LoadAnswer {
  readonly perSecond: number
}

export type Target = Pick<LoadOrder, 'url' | 'ca' | 'cert' | 'key' | 'headers'>

/** Saturates `target` with a closed loop, warm. */
export async function saturate(bench: Bench, target: Target, measured: Measured): Promise<Taken> {
  const order = orderOf(bench, target, measured)
  await ask(bench, { ...order, requests: warmRequests })
  const answer = await ask(bench, order)
  return { ...answer, perSecond: answer.requests / answer.seconds }
}

/** An open loop: requests leave on time, so waiting in queues is part of the latency. */
export function pace(
  bench: Bench,
  target: Target,
  perSecond: number,
  measured: Measured = { pids: [] },
): Promise<LoadAnswer> {
  return ask(bench, { ...orderOf(bench, target, measured), perSecond })
}

export type AddedLatency = Percentiles

/** Latency of a paced load on `target`, less that of the same load on the receiver directly. */
export async function addedLatency(
  bench: Bench,
  target: Target,
  perSecond: number,
): Promise<AddedLatency> {
  const hop = await pace(bench, target, perSecond)
  const direct = await pace(bench, plain(bench.direct), perSecond)
  return { p50Ms: hop.p50Ms - direct.p50Ms, p99Ms: hop.p99Ms - direct.p99Ms }
}

/** Without TLS and without a credential. */
export function plain(url: string): Target {
  return { url, ca: null, cert: null, key: null, headers: {} }
}

/** The caller of a fabric of the bench, to its receiver. */
export function secured({ origin, ca, cert, key }: FabricReady): Target {
  return { ...plain(`${origin}/agents/echo/`), ca, cert, key }
}

function orderOf({ seconds }: Bench, target: Target, measured: Measured): LoadOrder {
  const { pids, pidsBeside = [] } = measured
  return { ...target, connections, seconds, requests: null, perSecond: null, pids, pidsBeside }
}

async function ask({ load }: Bench, order: LoadOrder): Promise<LoadAnswer> {
  const answer = await load.ask<LoadAnswer>(order)
  if (answer.failures > 0) throw new Error(`${answer.failures} requests failed at ${order.url}`)
  return answer
}

import { FormerFormatError, type MeshState, parseMeshState, parseUtf8 } from '@countersign/protocol'
import { type Clock, setDeadline } from '../../lib/clock.ts'
import type { ConnectorAgent } from './connector-agent.ts'

export interface StateFollower {
  /**
   * The state in force. Throws when it is older than `staleMsMax`, and a FormerFormatError when the
   * fabric takes entries in another format by now: then nothing can be decided.
   */
  current(): MeshState
  /**
   * Asks for the state that the fabric has from this moment on, however it has changed since the
   * one in force was sent. Resolves to whether it came within `refreshMs`. Concurrent callers share
   * one answer.
   */
  refresh(): Promise<boolean>
  close(): void
}

/**
 * The fabric answers a long poll within 25 s; three in a row unanswered, and it is out of reach.
 */
const staleMsMax = 90_000
const pollTimeoutMs = 35_000
/** Time that those who ask for the present state wait for it, behind `mesh.newcomerMs`. */
const refreshMs = 5_000
const retryMsMin = 200
const retryMsMax = 10_000

/**
 * Follows the state that the fabric decides by: policies, agents, endpoints. `apply` is called with
 * each new one, in order, and must reject to keep the one before (for example, a set that does not
 * compile).
 */
export async function followMeshState(
  agent: Pick<ConnectorAgent, 'request'>,
  clock: Clock,
  apply: (state: MeshState) => Promise<void>,
): Promise<StateFollower> {
  const closing = new AbortController()
  const first = await poll(agent, null, closing.signal)
  if (first === null) throw new Error('the fabric gave no state')
  let state = first
  await apply(state)
  let freshAt = clock.monotonic()

  /** Of a fabric that was replaced by one of another version, until it is one of this one. */
  let former: FormerFormatError | null = null
  /** Ends a poll that waits for something to happen. */
  let interrupt = new AbortController()
  /** Those who want the state of a poll that has not begun yet. */
  let wanting: PromiseWithResolvers<void> | null = null

  /** Until the next state, or at once for those who want the present one. */
  async function next(wanted: PromiseWithResolvers<void> | null): Promise<void> {
    // One that is wanted is not interrupted: who wants another waits for the poll after it.
    const signals = wanted === null ? [closing.signal, interrupt.signal] : [closing.signal]
    const after = wanted === null ? state : null
    const told = await poll(agent, after, AbortSignal.any(signals))
    // A load balancer can lead to another replica, whose log records from now on.
    const isSame = told?.sequence === state.sequence && told.slot === state.slot
    if (told !== null && !isSame) {
      await apply(told)
      state = told
    }
    freshAt = clock.monotonic()
    former = null
    wanted?.resolve()
  }

  async function follow(): Promise<void> {
    let waitMs = retryMsMin
    while (!closing.signal.aborted) {
      const wanted = wanting
      wanting = null
      interrupt = new AbortController()
      const { signal } = interrupt
      try {
        await next(wanted)
        waitMs = retryMsMin
      } catch (cause) {
        if (cause instanceof FormerFormatError) former = cause
        if (signal.aborted && wanted === null) continue
        await pause(waitMs, closing.signal)
        waitMs = Math.min(waitMs * 2, retryMsMax)
      }
    }
  }
  void follow()

  return {
    current() {
      if (former !== null) throw former
      if (clock.monotonic() - freshAt > staleMsMax) {
        throw new Error('the state of the fabric is stale: it has been out of reach for too long')
      }
      return state
    },
    refresh() {
      wanting ??= Promise.withResolvers()
      interrupt.abort()
      return inTime(wanting.promise)
    },
    close: () => closing.abort(),
  }
}

function inTime(promise: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = setDeadline(refreshMs, () => resolve(false))
    void promise.then(() => {
      cancel()
      resolve(true)
    })
  })
}

/** Null if the state is still the one that is known. */
async function poll(
  agent: Pick<ConnectorAgent, 'request'>,
  known: Pick<MeshState, 'sequence' | 'slot'> | null,
  closing: AbortSignal,
): Promise<MeshState | null> {
  const signal = AbortSignal.any([closing, AbortSignal.timeout(pollTimeoutMs)])
  const after = known?.sequence ?? -1
  const slot = known === null ? '' : `&slot=${known.slot}`
  const path = `/v1/mesh/state?after=${after}${slot}`
  const answer = await agent.request({ method: 'GET', path, body: null, signal })
  if (answer.status !== 200) throw new Error(`the fabric answered ${answer.status}`)
  const value: unknown = JSON.parse(parseUtf8(answer.body))
  return isSequence(value, after) ? null : parseMeshState(value)
}

function isSequence(value: unknown, after: number): boolean {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return false
  return 'sequence' in value && value.sequence === after
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // The signal outlives every wait: what listens to it is taken away again.
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
}

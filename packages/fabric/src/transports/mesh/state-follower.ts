import { type MeshState, parseMeshState, parseUtf8 } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import type { ConnectorAgent } from './connector-agent.ts'

export interface StateFollower {
  /** The state in force. Throws when it is older than `staleMsMax`: then nothing can be decided. */
  current(): MeshState
  close(): void
}

/** The fabric answers a long poll within 25 s; three in a row unanswered, and it is out of reach. */
const staleMsMax = 90_000
const pollTimeoutMs = 35_000
const retryMsMin = 200
const retryMsMax = 10_000

/**
 * Follows the state that the fabric decides by: policies, agents, endpoints. `apply` is called with
 * each new one, in order, and must reject to keep the one before (a set that does not compile, say).
 */
export async function followMeshState(
  agent: Pick<ConnectorAgent, 'request'>,
  clock: Clock,
  apply: (state: MeshState) => Promise<void>,
): Promise<StateFollower> {
  const closing = new AbortController()
  const first = await poll(agent, -1, closing.signal)
  if (first === null) throw new Error('the fabric gave no state')
  let state = first
  await apply(state)
  let freshAt = clock.monotonic()

  async function follow(): Promise<void> {
    let waitMs = retryMsMin
    while (!closing.signal.aborted) {
      try {
        const next = await poll(agent, state.sequence, closing.signal)
        if (next !== null) {
          await apply(next)
          state = next
        }
        freshAt = clock.monotonic()
        waitMs = retryMsMin
      } catch {
        await pause(waitMs, closing.signal)
        waitMs = Math.min(waitMs * 2, retryMsMax)
      }
    }
  }
  void follow()

  return {
    current() {
      if (clock.monotonic() - freshAt > staleMsMax) {
        throw new Error('the state of the fabric is stale: it has been out of reach for too long')
      }
      return state
    },
    close: () => closing.abort(),
  }
}

/** Null when there is no other state than the one of `after`. */
async function poll(
  agent: Pick<ConnectorAgent, 'request'>,
  after: number,
  closing: AbortSignal,
): Promise<MeshState | null> {
  const signal = AbortSignal.any([closing, AbortSignal.timeout(pollTimeoutMs)])
  const path = `/v1/mesh/state?after=${after}`
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
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

import { askControl, retrying } from '../connection/control.ts'
import type { Identity } from '../identity/identity.ts'

export type EndpointProtocol = 'a2a' | 'mcp' | 'http' | 'auto'

export interface Registration {
  /** Takes the endpoint back; resolves whether or not the fabric received the request. */
  withdraw(): Promise<void>
}

/**
 * Long enough to survive a restart of the fabric, short enough that a dead agent is soon forgotten.
 */
const ttlSeconds = 60
const againMs = (ttlSeconds / 3) * 1000
/** Time that a closing agent waits for the fabric to receive its withdrawal. */
const withdrawMsMax = 2_000

/**
 * Registers with the fabric where this agent listens, and keeps telling it. Resolves once the
 * fabric knows; rejects when it refuses or cannot be reached at first. Later failures go to
 * `onFault`, and the next turn tries again.
 */
export async function registerEndpoint(
  identity: Identity,
  endpoint: { readonly url: string; readonly protocol: EndpointProtocol },
  onFault: (error: Error) => void,
): Promise<Registration> {
  const closing = new AbortController()
  const { signal } = closing
  const say = (endpoints: readonly (typeof endpoint)[], until: AbortSignal): Promise<unknown> =>
    askControl(identity.connection, {
      method: 'POST',
      path: '/v1/mesh/endpoints',
      value: { instance: endpoint.url, endpoints, ttlSeconds },
      signal: until,
    })
  await retrying(() => say([endpoint], signal), signal)
  let running = false
  const timer = setInterval(() => {
    if (running) return
    running = true
    retrying(() => say([endpoint], signal), signal)
      .catch((error: unknown) => {
        if (!signal.aborted) onFault(error instanceof Error ? error : new Error(String(error)))
      })
      .finally(() => {
        running = false
      })
      .catch(() => undefined)
  }, againMs)
  timer.unref()
  return {
    async withdraw() {
      clearInterval(timer)
      closing.abort()
      await say([], AbortSignal.timeout(withdrawMsMax)).catch(() => undefined)
    },
  }
}

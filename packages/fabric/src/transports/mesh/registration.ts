import { type MeshEndpoint, type MeshState, utf8 } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import type { ConnectorAgent } from './connector-agent.ts'

export interface RegistrationOptions {
  readonly agent: Pick<ConnectorAgent, 'name' | 'request'>
  readonly endpoint: MeshEndpoint
  readonly clock: Pick<Clock, 'monotonic'>
  log(event: string, facts?: Readonly<Record<string, string | number>>): void
}

export interface Registration {
  /**
   * Called with every state of the fabric: one that does not list the endpoint triggers a
   * registration at once.
   */
  follow(state: Pick<MeshState, 'endpoints'>): void
  /** Takes the endpoint back; resolves whether or not the fabric received the request. */
  withdraw(): Promise<void>
}

const ttlSeconds = 60
const withdrawTimeoutMs = 2_000
/** A fabric that does not list what it took must not become a storm. */
const againMsMin = 1_000

/**
 * Registers an agent's address with the fabric, and keeps doing so: three times in the lifetime of
 * a registration, so that one lost message does not unlist the agent, and as soon as the fabric is
 * seen to have forgotten it. A restarted fabric has, because registrations live in its memory.
 * Rejects when the fabric does not take the first one.
 */
export async function openRegistration(options: RegistrationOptions): Promise<Registration> {
  const { agent, endpoint, clock, log } = options
  const closing = new AbortController()
  let saidAt = clock.monotonic()
  let listed = true
  let again: NodeJS.Timeout | null = null

  const register = (): Promise<void> => {
    saidAt = clock.monotonic()
    return say(agent, { instance: endpoint.url, endpoints: [endpoint] }, closing.signal)
  }
  const soon = (): void => {
    if (again !== null || closing.signal.aborted) return
    const waitMs = Math.max(0, saidAt + againMsMin - clock.monotonic())
    again = setTimeout(() => {
      again = null
      if (!listed) registerOrLog()
    }, waitMs)
  }
  const registerOrLog = (): void => {
    register().catch((cause: unknown) => {
      if (closing.signal.aborted) return
      log('registration failed', { error: String(cause) })
      if (!listed) soon()
    })
  }
  await register()
  const timer = setInterval(registerOrLog, (ttlSeconds * 1000) / 3)
  return {
    follow({ endpoints }) {
      listed = endpoints.some(({ name, url }) => name === agent.name && url === endpoint.url)
      if (!listed) soon()
    },
    async withdraw() {
      clearInterval(timer)
      if (again !== null) clearTimeout(again)
      // Or one that is still under way could arrive after the withdrawal.
      closing.abort()
      // A fabric that does not receive it forgets the registration when its time is up.
      const nothing = { instance: endpoint.url, endpoints: [] }
      await say(agent, nothing, AbortSignal.timeout(withdrawTimeoutMs)).catch(() => undefined)
    },
  }
}

async function say(
  agent: RegistrationOptions['agent'],
  what: { readonly instance: string; readonly endpoints: readonly MeshEndpoint[] },
  signal: AbortSignal,
): Promise<void> {
  const body = utf8(JSON.stringify({ ...what, ttlSeconds }))
  const path = '/v1/mesh/endpoints'
  const answer = await agent.request({ method: 'POST', path, body, signal })
  if (answer.status !== 200) throw new Error(`the fabric answered ${answer.status}`)
}

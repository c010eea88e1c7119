import type { Identity } from '../identity/identity.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import type { FabricConnection } from './fabric-connection.ts'
import { RefusedError } from './refused.ts'

/**
 * Asks the fabric about an exchange, and where another replica holds its log, that one: once, and
 * with the agent's own certificate. A replica that names a further one is not followed, so that two
 * replicas with different views cannot send an agent in a circle. The address is good only if its
 * TLS peer proves to be a fabric of the same trust domain.
 */
export async function askHolder<T>(
  identity: Pick<Identity, 'connection' | 'connectionTo'>,
  ask: (connection: FabricConnection) => Promise<T>,
): Promise<T> {
  try {
    return await ask(identity.connection)
  } catch (error) {
    const holder = error instanceof RefusedError ? error.holder : null
    if (holder === null || holder.address === null) throw error
    return askAt(identity.connectionTo(holder.address), ask).catch((cause: unknown) => {
      throw unreached(cause, `the holder of log slot ${holder.slot}, ${holder.address}`)
    })
  }
}

async function askAt<T>(
  connection: FabricConnection,
  ask: (connection: FabricConnection) => Promise<T>,
): Promise<T> {
  // Ends what is under way: a replica that accepts and falls silent must not hold its caller.
  const timer = setTimeout(() => connection.close(), LIMITS.holderMsMax)
  try {
    return await ask(connection)
  } finally {
    clearTimeout(timer)
    connection.close()
  }
}

/** Names the replica: the fabric that the agent is connected to was reached. */
function unreached(cause: unknown, holder: string): unknown {
  const isUnreached = cause instanceof AgentError && cause.code === 'FABRIC_UNREACHABLE'
  return isUnreached ? new AgentError('FABRIC_UNREACHABLE', holder, { cause }) : cause
}

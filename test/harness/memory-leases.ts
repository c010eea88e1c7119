import type { Clock } from '../../packages/fabric/src/lib/clock.ts'
import {
  assertLease,
  type LeaseClaim,
  type LeaseStore,
  leasesMax,
  tooManyLeases,
} from '../../packages/fabric/src/state/lease-store.ts'

interface Held {
  readonly token: number
  readonly note: string
  /** Monotonic milliseconds; minus infinity once it was released. */
  readonly until: number
}

/** Leases of one process; several stores may share one. */
export type LeaseMemory = Map<string, Held>

export function memoryLeaseStore(
  clock: Pick<Clock, 'monotonic'>,
  leases: LeaseMemory = new Map(),
): LeaseStore {
  const find = ({ name, token }: LeaseClaim): Held | null => {
    const held = leases.get(name)
    const isOwn = held?.token === token && held.until !== Number.NEGATIVE_INFINITY
    return isOwn ? held : null
  }
  return {
    async take(request) {
      assertLease(request)
      const { name, leaseMs, note, isFormerEnded } = request
      const former = leases.get(name)
      if (former === undefined && leases.size >= leasesMax) throw tooManyLeases()
      const now = clock.monotonic()
      if (former !== undefined && now < former.until && !isFormerEnded) return null
      const token = (former?.token ?? 0) + 1
      leases.set(name, { token, note, until: now + leaseMs })
      return token
    },
    async renew(renewal) {
      assertLease(renewal)
      const { name, token, note, leaseMs } = renewal
      if (find(renewal) === null) return false
      leases.set(name, { token, note, until: clock.monotonic() + leaseMs })
      return true
    },
    async release(claim) {
      const held = find(claim)
      if (held !== null) leases.set(claim.name, { ...held, until: Number.NEGATIVE_INFINITY })
    },
    async list() {
      const now = clock.monotonic()
      return [...leases]
        .map(([name, { token, note, until }]) => ({ name, token, note, isHeld: now < until }))
        .sort((a, b) => (a.name < b.name ? -1 : 1))
    },
    close: () => Promise.resolve(),
  }
}

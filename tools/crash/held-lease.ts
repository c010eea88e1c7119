import type { Lease } from '../../packages/fabric/src/state/lease.ts'

/** The lease of a ledger that one process opens at a time, in tests and measurements. */
export const heldLease: Lease = {
  name: 'a',
  token: 1,
  holds: () => true,
  regain: () => null,
  onLost: () => () => undefined,
}

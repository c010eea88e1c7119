import type { Refusal } from '../lib/refusal.ts'
import type { AuthorizeDeps, Authorized } from './authorize.ts'
import type { StillPermitted } from './delivery.ts'
import type { Exchange } from './exchange.ts'
import { Interruption } from './interruption.ts'
import { endOf, recheck } from './recheck.ts'

/** Signals that policy, an identity or a risk score changed, so that long exchanges look again. */
export interface StatusChanges {
  onChange(listener: () => void): () => void
}

/**
 * setTimeout cannot wait longer (2^31 - 1 ms); a stream that lives that long is checked again then.
 */
const timerMsMax = 2_147_483_647
/** A timer may fire a little early, and a clock may be set back. */
const lookAgainMsMin = 1

/** The right of one exchange to go on. */
export interface StatusWatch {
  /** Comes with the refusal the moment the right is gone. */
  readonly lost: Interruption<Refusal>
  /** Asks at this moment; null while the right stands. */
  check(): Refusal | null
  close(): void
}

/** Watches a right that `still` asks for, and that only news of the fabric can end. */
export function watchRight(still: StillPermitted, changes: StatusChanges): StatusWatch {
  const lost = new Interruption<Refusal>()
  const check = (): Refusal | null => {
    const refusal = still()
    if (refusal !== null) lost.come(refusal)
    return refusal
  }
  return { lost, check, close: changes.onChange(check) }
}

/**
 * Watches one exchange's right to go on. `lost` comes with the refusal the moment the right is
 * gone, also while nothing flows. The watcher must be closed.
 */
export function watchStatus(
  exchange: Exchange<Authorized>,
  deps: AuthorizeDeps,
  changes: StatusChanges,
): StatusWatch {
  const lost = new Interruption<Refusal>()
  let timer: NodeJS.Timeout | undefined
  const look = (): Refusal | null => {
    const refusal = recheck(exchange, deps)
    if (refusal !== null) lost.come(refusal)
    return refusal
  }
  // Set again each time, because a renewed credential ends later than the one that began.
  const lookAtEnd = (): void => {
    const remainingMs = endOf(exchange, deps) - deps.now()
    timer = setTimeout(
      () => {
        if (look() === null) lookAtEnd()
      },
      Math.min(Math.max(remainingMs, lookAgainMsMin), timerMsMax),
    )
    timer.unref()
  }
  const stop = changes.onChange(look)
  lookAtEnd()
  return {
    lost,
    check: look,
    close: () => {
      stop()
      clearTimeout(timer)
    },
  }
}

import { Refusal } from '../lib/refusal.ts'
import { type Authorized, type AuthorizeRoom, recheck } from './authorize.ts'
import { Interruption } from './interruption.ts'

/** Tells that policy, an identity or a risk score changed, so that long exchanges look again. */
export interface StandingChanges {
  onChange(listener: () => void): () => void
}

/** setTimeout cannot wait longer (2^31 - 1 ms); a stream that lives that long is checked again then. */
const timerMsMax = 2_147_483_647

/**
 * Watches one exchange's right to go on. `lost` comes with the refusal the moment the right is gone,
 * also while nothing flows. The watcher must be closed.
 */
export function watchStanding(
  authorized: Authorized,
  room: AuthorizeRoom,
  changes: StandingChanges,
): { readonly lost: Interruption<Refusal>; check(): Refusal | null; close(): void } {
  const lost = new Interruption<Refusal>()
  const look = (): Refusal | null => {
    const refusal = recheckOrRefuse(authorized, room)
    if (refusal !== null) lost.come(refusal)
    return refusal
  }
  const stop = changes.onChange(look)
  const remainingMs = authorized.authenticated.caller.expiresAt - room.now()
  const timer = setTimeout(look, Math.min(Math.max(remainingMs, 0), timerMsMax))
  timer.unref()
  return {
    lost,
    check: look,
    close: () => {
      stop()
      clearTimeout(timer)
    },
  }
}

/** A standing that cannot be re-established is a standing that is lost. */
function recheckOrRefuse(authorized: Authorized, room: AuthorizeRoom): Refusal | null {
  try {
    return recheck(authorized, room)
  } catch (cause) {
    return new Refusal('WITHDRAWN', `could not be re-checked: ${String(cause)}`)
  }
}

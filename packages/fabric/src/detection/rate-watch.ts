/** The limits by which one count per minute is judged. */
export interface RateLimits {
  /** Deviations smaller than this are never alarming, however regular an agent is. */
  readonly deviationMin: number
  /** Counts below this raise nothing: three refusals are a mistake, not an attack. */
  readonly countMin: number
  /**
   * The count that is alarming by itself in an agent that is not known yet: an attack must not
   * become its habit.
   */
  readonly coldMax: number
  /** True if several times the alarming count within the hold is an alarm of its own. */
  readonly escalates?: boolean
}

/** The state of one watch, as plain numbers, so that a snapshot is a copy. */
export interface RateState {
  windowStart: number
  count: number
  mean: number
  deviation: number
  /** The highest count of a minute, fading: what an agent does every hour is not news. */
  peak: number
  windows: number
  cusum: number
  heldUntil: number
  /** The count at the last alarm, while it is held; 0 otherwise. */
  alarmed: number
}

export interface RateAlarm {
  readonly seen: number
  readonly usual: number
}

const windowMs = 60_000
/** A window moves the mean by a twentieth: it follows the day, not the minute. */
const learningShare = 0.05
/** Minutes of activity before anything is judged. */
const windowsLearnt = 30
/** Slack and threshold of the cumulative sum, in deviations (Page, 1954). */
const cusumSlack = 1
const cusumThreshold = 8
/** A value further away than this teaches no more than this, so that an attack is not learnt. */
const deviationsTaught = 3
/** A single window this far away is an alarm at once. */
const deviationsAtOnce = 10
/** Twice the peak: the same job with more work is not an alarm. */
const peakFactor = 2
const peakHalfLifeMs = 3 * 24 * 60 * 60_000
/** The hold matters more than the detector: one incident is one alarm. */
const holdMs = 15 * 60_000
/** Within the hold, so many times the count that was alarming is an alarm again. */
const escalation = 3
/** Idle minutes teach at most this many zeros; afterwards the baseline waits. */
const idleWindowsMax = 30

export function createRateState(at: number): RateState {
  return {
    windowStart: at,
    count: 0,
    mean: 0,
    deviation: 0,
    peak: 0,
    windows: 0,
    cusum: 0,
    heldUntil: 0,
    alarmed: 0,
  }
}

/**
 * Counts `amount` at `at` (Unix milliseconds, not before the last call) and gives an alarm or null.
 *
 * An exponentially weighted mean and mean absolute deviation learn what a minute usually holds; a
 * cumulative sum finds what is a little too much for long, a limit on one window what is far too
 * much at once. Both must exceed what the agent has peaked at before. An agent that is not known
 * yet is judged by an absolute limit, from its first minute on.
 */
export function countRate(
  state: RateState,
  event: { readonly at: number; readonly amount: number },
  limits: RateLimits,
): RateAlarm | null {
  const passed = Math.floor((event.at - state.windowStart) / windowMs)
  if (passed > 0) {
    closeWindow(state, limits)
    for (let idle = Math.min(passed - 1, idleWindowsMax); idle > 0; idle--) learn(state, 0, limits)
    if (passed > 1) state.cusum = 0
    state.peak *= 2 ** ((-passed * windowMs) / peakHalfLifeMs)
    state.windowStart += passed * windowMs
  }
  state.count += event.amount
  return judge(state, event.at, limits)
}

function closeWindow(state: RateState, limits: RateLimits): void {
  const distance = (state.count - state.mean) / scale(state, limits)
  state.cusum = Math.max(0, state.cusum + Math.min(distance, deviationsTaught) - cusumSlack)
  learn(state, state.count, limits)
  // An attack is not a habit: it must not become the peak that hides the next one.
  if (state.alarmed === 0) state.peak = Math.max(state.peak, state.count)
  state.windows++
  state.count = 0
}

function learn(state: RateState, count: number, limits: RateLimits): void {
  const reach = deviationsTaught * scale(state, limits)
  const seen = Math.min(count, state.mean + reach)
  // The first windows teach more, or a fresh agent would need an hour to be known.
  const share = Math.max(learningShare, 1 / (state.windows + 2))
  state.deviation += share * (Math.abs(seen - state.mean) - state.deviation)
  state.mean += share * (seen - state.mean)
}

/**
 * Counts of independent events vary by the root of their mean, so nothing is ever judged tighter.
 */
function scale(state: RateState, limits: RateLimits): number {
  return Math.max(limits.deviationMin, 1.25 * state.deviation, Math.sqrt(state.mean))
}

function isUnusual(state: RateState, limits: RateLimits): boolean {
  if (state.count < limits.countMin || state.count < state.peak * peakFactor) return false
  const distance = (state.count - state.mean) / scale(state, limits)
  const isLong = state.cusum + Math.min(distance, deviationsTaught) > cusumThreshold
  return distance >= deviationsAtOnce || isLong
}

function judge(state: RateState, at: number, limits: RateLimits): RateAlarm | null {
  if (at < state.heldUntil) {
    const isWorse = limits.escalates === true && state.count >= state.alarmed * escalation
    if (!isWorse || state.alarmed === 0) return null
  } else {
    state.alarmed = 0
    const isAlarming =
      state.windows < windowsLearnt ? state.count >= limits.coldMax : isUnusual(state, limits)
    if (!isAlarming) return null
    state.heldUntil = at + holdMs
  }
  state.alarmed = state.count
  state.cusum = 0
  return { seen: Math.round(state.count), usual: Math.round(state.mean) }
}

import type { Observation, Risk, Signal } from './detector.ts'
import { byOthersMax, DETECTORS, halfLifeOf, isByOthers } from './detectors.ts'
import { createEdgeState, type EdgeState, forgetEdges, noteEdge } from './edge-watch.ts'
import { countRate, createRateState, type RateLimits, type RateState } from './rate-watch.ts'

export interface AgentLimits {
  readonly edgesMax: number
  readonly signalsMax: number
}

/** Everything that is known of the behaviour of one agent. */
export interface AgentWatch {
  /** Time of the latest observation: time never runs backwards for a watch. */
  at: number
  readonly edges: EdgeState
  readonly rates: Record<RateName, RateState>
  credentialsHeldUntil: number
  claimHeldUntil: number
  leakHeldUntil: number
  /**
   * The signals of the agent's own actions, and those that were raised from outside; oldest first.
   */
  signals: Signal[]
  /**
   * The signals that others brought about: apart, so that they can neither outweigh nor push out
   * the rest.
   */
  byOthers: Signal[]
}

/** The counts that are watched per minute. */
const RATES = {
  rate: { deviationMin: 3, countMin: 30, coldMax: 6_000 },
  refusals: { deviationMin: 1, countMin: 8, coldMax: 20, escalates: true },
  findings: { deviationMin: 2, countMin: 20, coldMax: 200 },
  volume: { deviationMin: 64, countMin: 2_048, coldMax: 65_536 },
  received: { deviationMin: 256, countMin: 8_192, coldMax: 262_144 },
  claimed: { deviationMin: 2, countMin: 20, coldMax: 200 },
  declined: { deviationMin: 1, countMin: 8, coldMax: 20 },
} as const satisfies Record<string, RateLimits>
type RateName = keyof typeof RATES
export const RATE_NAMES = [
  'rate',
  'refusals',
  'findings',
  'volume',
  'received',
  'claimed',
  'declined',
] as const satisfies RateName[]

/** A refused first time suggests an agent that probes for access. */
const refusedFactor = 1.5
/** As long as a rate is held: what `leak` comes to at most depends on it. */
const leakHoldMs = 15 * 60_000
/** One leaking job sends the same credential again and again. */
const credentialHoldMs = 5 * 60_000
/** Signals that have faded below this are dropped. */
const weightMin = 0.5

export function createAgentWatch(at: number): AgentWatch {
  return {
    at,
    edges: createEdgeState(),
    rates: {
      rate: createRateState(at),
      refusals: createRateState(at),
      findings: createRateState(at),
      volume: createRateState(at),
      received: createRateState(at),
      claimed: createRateState(at),
      declined: createRateState(at),
    },
    credentialsHeldUntil: 0,
    claimHeldUntil: 0,
    leakHeldUntil: 0,
    signals: [],
    byOthers: [],
  }
}

/** Notes one exchange and gives the signals that it raised, which are already counted. */
export function observeAgent(
  watch: AgentWatch,
  observation: Observation,
  limits: AgentLimits,
): readonly Signal[] {
  const at = Math.max(watch.at, observation.at)
  watch.at = at
  if (observation.leaked !== undefined) {
    const leaks = observeLeak(watch, observation, at)
    for (const signal of leaks) addSignal(watch, signal, limits)
    return leaks
  }
  const raised = [
    ...observeRates(watch, observation, at),
    ...observeEdge(watch, observation, { at, limits }),
    ...observeCredentials(watch, observation, at),
    ...observeClaim(watch, observation, at),
  ]
  for (const signal of raised) addSignal(watch, signal, limits)
  return raised
}

function observeRates(watch: AgentWatch, observation: Observation, at: number): Signal[] {
  const amounts: Record<RateName, number> = {
    rate: observation.messages ?? 1,
    refusals: observation.outcome === 'refused' ? 1 : 0,
    findings: observation.findings,
    volume: observation.bytes / 1024,
    received: (observation.receivedBytes ?? 0) / 1024,
    claimed: observation.claimed?.findings ?? 0,
    declined: observation.isDeclined === true ? 1 : 0,
  }
  const raised: Signal[] = []
  for (const name of RATE_NAMES) {
    const alarm = countRate(watch.rates[name], { at, amount: amounts[name] }, RATES[name])
    if (alarm === null) continue
    const { weight, says } = DETECTORS[name]
    const sentence = says(alarm.seen, alarm.usual)
    raised.push({ detector: name, agent: observation.caller, at, weight, says: sentence })
  }
  return raised
}

function observeEdge(
  watch: AgentWatch,
  observation: Observation,
  { at, limits }: { at: number; limits: AgentLimits },
): Signal[] {
  const { receiver, action, caller, outcome } = observation
  if (observation.isResponse === true) return []
  const isRefused = outcome === 'refused'
  const surprise = noteEdge(watch.edges, { receiver, action, at, isRefused }, limits)
  const row = DETECTORS['new-edge']
  const factor = isRefused ? refusedFactor : 1
  const weight = Math.round(row.weight * surprise * factor)
  if (weight === 0) return []
  return [{ detector: 'new-edge', agent: caller, at, weight, says: row.says(receiver, action) }]
}

function observeLeak(watch: AgentWatch, observation: Observation, at: number): Signal[] {
  if (at < watch.leakHeldUntil) return []
  watch.leakHeldUntil = at + leakHoldMs
  const { weight, says } = DETECTORS.leak
  const count = observation.leaked ?? 0
  return [{ detector: 'leak', agent: observation.caller, at, weight, says: says(count) }]
}

function observeCredentials(watch: AgentWatch, observation: Observation, at: number): Signal[] {
  const count = observation.credentials ?? 0
  if (count === 0 || at < watch.credentialsHeldUntil) return []
  watch.credentialsHeldUntil = at + credentialHoldMs
  const { weight, says } = DETECTORS.credential
  return [{ detector: 'credential', agent: observation.caller, at, weight, says: says(count) }]
}

function observeClaim(watch: AgentWatch, observation: Observation, at: number): Signal[] {
  const count = observation.claimed?.credentials ?? 0
  if (count === 0 || at < watch.claimHeldUntil) return []
  watch.claimHeldUntil = at + leakHoldMs
  const { weight, says } = DETECTORS.claimed
  return [{ detector: 'claimed', agent: observation.caller, at, weight, says: says(count) }]
}

/** Keeps the newest signals; what is dropped is the oldest, and has faded most. */
export function addSignal(
  watch: AgentWatch,
  signal: Signal,
  limits: Pick<AgentLimits, 'signalsMax'>,
): void {
  const account = isByOthers(signal.detector) ? watch.byOthers : watch.signals
  account.push(signal)
  if (account.length > limits.signalsMax) account.shift()
}

/**
 * Removes the names of others: their edges, and the words of sentences. The signals keep their
 * weight. Returns the number of edges that are left.
 */
export function forgetOthers(watch: AgentWatch, isForgotten: (name: string) => boolean): number {
  forgetEdges(watch.edges, isForgotten)
  const without = (signal: Signal): Signal => {
    const says = signal.says
      .split(' ')
      .map((word) => (isForgotten(word) ? erasedWord : word))
      .join(' ')
    return says === signal.says ? signal : { ...signal, says }
  }
  watch.signals = watch.signals.map(without)
  watch.byOthers = watch.byOthers.map(without)
  return watch.edges.edges.size
}

const erasedWord = '(erased)'

/** The score at `now`, a whole number, because policies compare it with whole numbers. */
export function scoreOfAgent(watch: AgentWatch, now: number): number {
  const byOthers = Math.min(byOthersMax, weightOf(watch.byOthers, now))
  return Math.min(100, Math.round(weightOf(watch.signals, now) + byOthers))
}

function weightOf(signals: readonly Signal[], now: number): number {
  let sum = 0
  for (const signal of signals) {
    const weight = fadedWeight(signal, now)
    if (weight >= weightMin) sum += weight
  }
  return sum
}

/** The score at `now` with the signals that it comes from. */
export function riskOfAgent(watch: AgentWatch, now: number): Risk {
  const counts = (signal: Signal): boolean => fadedWeight(signal, now) >= weightMin
  const own = watch.signals.filter(counts)
  const byOthers = watch.byOthers.filter(counts)
  const signals = byOthers.length === 0 ? own : [...own, ...byOthers].sort((a, b) => a.at - b.at)
  return { score: scoreOfAgent(watch, now), signals }
}

function fadedWeight(signal: Signal, now: number): number {
  const age = Math.max(0, now - signal.at)
  return signal.weight * 2 ** (-age / halfLifeOf(signal.detector))
}

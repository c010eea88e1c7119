import type { Clock } from '../lib/clock.ts'
import {
  type AgentWatch,
  addSignal,
  createAgentWatch,
  observeAgent,
  riskOfAgent,
  scoreOfAgent,
} from './agent-watch.ts'
import type { Detection, Observation, Risk, Signal } from './detector.ts'
import { parseSnapshot, writeSnapshot } from './snapshot.ts'

export interface DetectionLimits {
  /** Agents that are remembered; each takes a few kilobytes, at most about 64. */
  readonly agentsMax: number
  /** Receivers and actions that are remembered of one agent. */
  readonly edgesMax: number
  readonly signalsMax: number
  /** Longer names and sentences from outside are cut. */
  readonly textMax: number
}

export const DETECTION_LIMITS_DEFAULT: DetectionLimits = {
  agentsMax: 10_000,
  edgesMax: 512,
  signalsMax: 32,
  textMax: 500,
}

export interface DetectionOptions {
  readonly clock: Clock
  readonly limits?: Partial<DetectionLimits>
  /** The result of `snapshot` before a restart. */
  readonly snapshot?: Uint8Array | null
}

/** Detection that can be carried over a restart: afterwards it judges as if it had not happened. */
export interface RestorableDetection extends Detection {
  /** Its caller will be the follower of the ledger, which resumes from a snapshot. */
  snapshot(): Uint8Array
}

const quiet: Risk = { score: 0, signals: [] }
/** Number of the longest unseen that are searched for one that is not under suspicion. */
const evictionsTriedMax = 64

/** The detection that the fabric runs. Throws on a snapshot that is not one of ours. */
export function createDetection(options: DetectionOptions): RestorableDetection {
  const { clock } = options
  const limits = { ...DETECTION_LIMITS_DEFAULT, ...options.limits }
  const { snapshot } = options
  /** Least recently seen first. */
  const watches = new Map<string, AgentWatch>(
    snapshot === undefined || snapshot === null ? [] : parseSnapshot(snapshot),
  )

  const watchOf = (agent: string, at: number): AgentWatch => {
    const known = watches.get(agent)
    const watch = known ?? createAgentWatch(at)
    watches.delete(agent)
    watches.set(agent, watch)
    if (watches.size > limits.agentsMax) evict(watches, clock.now())
    return watch
  }

  return {
    observe(observation: Observation) {
      // A caller without a canonical form is not a principal, and a flood of such must not push the
      // others out.
      const { caller }: { readonly caller: string } = observation
      if (caller === '') return []
      const at = Math.min(observation.at, clock.now())
      return observeAgent(watchOf(observation.caller, at), { ...observation, at }, limits)
    },
    raise(signal: Signal) {
      const weight = Number.isFinite(signal.weight)
        ? Math.min(100, Math.max(0, signal.weight))
        : 100
      // A time in the future would never fade.
      const at = Math.min(signal.at, clock.now())
      const says = signal.says.slice(0, limits.textMax)
      const detector = signal.detector.slice(0, limits.textMax)
      addSignal(watchOf(signal.agent, at), { ...signal, detector, at, weight, says }, limits)
    },
    riskOf(agent: string, now: number) {
      const watch = watches.get(agent)
      return watch === undefined ? quiet : riskOfAgent(watch, now)
    },
    scoreOf(agent: string, now: number) {
      const watch = watches.get(agent)
      return watch === undefined ? 0 : scoreOfAgent(watch, now)
    },
    snapshot: () => writeSnapshot(watches),
  }
}

/**
 * Forgets the one unseen longest, but rather one without risk: a flood of names does not clear any
 * agent.
 */
function evict(watches: Map<string, AgentWatch>, now: number): void {
  let oldest: string | null = null
  let tried = 0
  for (const [agent, watch] of watches) {
    oldest ??= agent
    if (scoreOfAgent(watch, now) === 0) {
      watches.delete(agent)
      return
    }
    if (++tried >= evictionsTriedMax) break
  }
  if (oldest !== null) watches.delete(oldest)
}

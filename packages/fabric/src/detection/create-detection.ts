import { MapCopy } from '../concurrency/map-copy.ts'
import {
  type AgentWatch,
  addSignal,
  createAgentWatch,
  forgetOthers,
  observeAgent,
  riskOfAgent,
  scoreOfAgent,
} from './agent-watch.ts'
import type { Detection, Observation, Risk, Signal } from './detector.ts'
import { formatAgent, parseAgent } from './snapshot.ts'

export interface DetectionLimits {
  /** Agents that are remembered; each takes a few kilobytes, at most about 64. */
  readonly agentsMax: number
  /** Receivers and actions that are remembered of one agent. */
  readonly edgesMax: number
  /** Those of all agents together: where there are more, none has more than an equal share. */
  readonly edgesTotalMax: number
  readonly signalsMax: number
  /** Longer names and sentences from outside are cut. */
  readonly textMax: number
}

export const DETECTION_LIMITS_DEFAULT: DetectionLimits = {
  agentsMax: 10_000,
  edgesMax: 512,
  edgesTotalMax: 524_288,
  signalsMax: 32,
  textMax: 500,
}

/** Detection that can be carried over a restart: afterwards it judges as if it had not happened. */
export interface RestorableDetection extends Detection {
  /** One line for each agent, as it is at the call; one such copy can be taken at a time. */
  lines(): Iterable<string>
  /** Takes the place of all agents. Throws a TypeError, with nothing changed, on another line. */
  restore(lines: Iterable<string>): void
  /**
   * Removes the agents of those names, and the names from what is known of all others, whose risk
   * stays. Takes names in the forms that observations have; one step for each agent.
   */
  forget(isForgotten: (name: string) => boolean): Generator<void, void>
}

const quiet: Risk = { score: 0, signals: [] }
/** Number of the longest unseen that are searched for one that is not under suspicion. */
const evictionsTriedMax = 64

/**
 * The detection that the fabric runs. Its state follows from what it is shown alone, with the times
 * that are stated there: two that are shown the same are the same.
 */
export function createDetection(options: Partial<DetectionLimits> = {}): RestorableDetection {
  const limits = { ...DETECTION_LIMITS_DEFAULT, ...options }
  /** Least recently seen first. */
  const watches = new Map<string, AgentWatch>()
  let edges = 0
  let copy: MapCopy<AgentWatch> | null = null

  const watchOf = (agent: string, at: number): AgentWatch => {
    copy?.keep(agent)
    const known = watches.get(agent)
    const watch = known ?? createAgentWatch(at)
    watches.delete(agent)
    watches.set(agent, watch)
    if (watches.size > limits.agentsMax) edges -= evict(watches, at)
    return watch
  }

  return {
    observe(observation: Observation) {
      // A caller without a canonical form is not a principal, and a flood of such must not push the
      // others out.
      const { caller, at }: { readonly caller: string; readonly at: number } = observation
      if (caller === '') return []
      const watch = watchOf(caller, at)
      const before = watch.edges.edges.size
      const share = Math.max(1, Math.floor(limits.edgesTotalMax / watches.size))
      const edgesMax = edges < limits.edgesTotalMax ? limits.edgesMax : share
      const signals = observeAgent(watch, observation, { ...limits, edgesMax })
      edges += watch.edges.edges.size - before
      return signals
    },
    raise(signal: Signal, now: number) {
      const weight = Number.isFinite(signal.weight)
        ? Math.min(100, Math.max(0, signal.weight))
        : 100
      // A time in the future would never fade.
      const at = Math.min(signal.at, now)
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
    lines() {
      copy = new MapCopy(watches, formatAgent)
      return copy.lines()
    },
    restore(lines) {
      const restored = [...lines].map(parseAgent)
      watches.clear()
      copy = null
      edges = 0
      for (const [agent, watch] of restored) {
        watches.set(agent, watch)
        edges += watch.edges.edges.size
      }
    },
    *forget(isForgotten) {
      // Agents move in the map while they are observed.
      for (const agent of [...watches.keys()]) {
        yield
        const watch = watches.get(agent)
        if (watch === undefined) continue
        copy?.keep(agent)
        edges -= watch.edges.edges.size
        if (isForgotten(agent)) watches.delete(agent)
        else edges += forgetOthers(watch, isForgotten)
      }
    },
  }
}

/**
 * Forgets the one unseen longest, but rather one without risk: a flood of names does not clear any
 * agent.
 * Returns the number of its edges.
 */
function evict(watches: Map<string, AgentWatch>, now: number): number {
  let oldest: string | null = null
  let tried = 0
  for (const [agent, watch] of watches) {
    oldest ??= agent
    if (scoreOfAgent(watch, now) === 0) {
      oldest = agent
      break
    }
    if (++tried >= evictionsTriedMax) break
  }
  const forgotten = oldest === null ? undefined : watches.get(oldest)
  if (oldest !== null) watches.delete(oldest)
  return forgotten?.edges.edges.size ?? 0
}

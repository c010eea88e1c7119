/** The earlier actions of one caller: receiver and action, with counts that fade. */
export interface EdgeState {
  /** Edges by `receiver action`, least recently used first. */
  edges: Map<string, { count: number; at: number }>
  observations: number
  /** Number of edges that were new when they were seen, ever. */
  novelties: number
  /** Number of first times that were refused, while the agent was being learnt. */
  refusedFirsts: number
}

export interface EdgeLimits {
  readonly edgesMax: number
}

/** Exchanges before a first time means anything: a fresh fabric sees only first times. */
const observationsLearnt = 100
/** So many refused first times are a mistake; a new agent that goes on is trying doors. */
const refusedFirstsMax = 5
/** The surprise value of each of them then. */
const scanSurprise = 0.5
/** An edge unused for this many half-lives is forgotten, and new again. */
const countHalfLifeMs = 7 * 24 * 60 * 60_000
const forgottenBelow = 0.02

export function createEdgeState(): EdgeState {
  return { edges: new Map(), observations: 0, novelties: 0, refusedFirsts: 0 }
}

/**
 * Notes one exchange at `at` and gives how surprising it is: 0 for an edge that is known, or while
 * the agent is being learnt and is not refused at every door; up to 1 for the first new edge of an
 * agent that always does the same. An agent that finds new receivers every day surprises little.
 */
export function noteEdge(
  state: EdgeState,
  edge: {
    readonly receiver: string
    readonly action: string
    readonly at: number
    readonly isRefused: boolean
  },
  limits: EdgeLimits,
): number {
  const key = `${edge.receiver} ${edge.action}`
  const known = state.edges.get(key)
  const fade = known === undefined ? 0 : 2 ** (-(edge.at - known.at) / countHalfLifeMs)
  const count = (known?.count ?? 0) * fade
  state.edges.delete(key)
  state.edges.set(key, { count: count + 1, at: edge.at })
  while (state.edges.size > limits.edgesMax) forgetOldest(state)
  state.observations++
  if (count >= forgottenBelow) return 0
  const learning = state.observations <= observationsLearnt
  const share = (state.novelties + 1) / (state.observations + 1)
  if (!learning) {
    state.novelties++
    return Math.min(1, -Math.log(share) / Math.log(observationsLearnt))
  }
  // While learning, new edges are not counted as a habit: they are not evidence about the agent.
  // Its refusals are, from the first minute on.
  if (edge.isRefused) state.refusedFirsts++
  return edge.isRefused && state.refusedFirsts > refusedFirstsMax ? scanSurprise : 0
}

/** Removes the edges to receivers of those names, which have no spaces. */
export function forgetEdges(state: EdgeState, isForgotten: (name: string) => boolean): void {
  for (const key of [...state.edges.keys()]) {
    if (isForgotten(key.slice(0, key.indexOf(' ')))) state.edges.delete(key)
  }
}

function forgetOldest(state: EdgeState): void {
  for (const key of state.edges.keys()) {
    state.edges.delete(key)
    return
  }
}

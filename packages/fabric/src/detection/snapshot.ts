import { isPrincipalKey, type PrincipalKey } from '@countersign/protocol'
import { type AgentWatch, addSignal, createAgentWatch, RATE_NAMES } from './agent-watch.ts'
import type { Signal } from './detector.ts'
import type { RateState } from './rate-watch.ts'

/** An agent as one line of JSON; its edges and signals keep their order. */
export function formatAgent(agent: string, watch: AgentWatch): string {
  return JSON.stringify({
    ...watch,
    agent,
    edges: { ...watch.edges, edges: [...watch.edges.edges] },
  })
}

/** Throws a TypeError on anything but what `formatAgent` gave. */
export function parseAgent(line: string): [string, AgentWatch] {
  const fields = asRecord(JSON.parse(line))
  return [asText(fields['agent']), parseWatch(fields)]
}

function parseWatch(fields: Record<string, unknown>): AgentWatch {
  const watch = createAgentWatch(asNumber(fields['at']))
  const rates = asRecord(fields['rates'])
  for (const name of RATE_NAMES) {
    fillRate(watch.rates[name], asRecord(rates[name]))
  }
  const edges = asRecord(fields['edges'])
  watch.edges.observations = asNumber(edges['observations'])
  watch.edges.novelties = asNumber(edges['novelties'])
  watch.edges.refusedFirsts = asNumber(edges['refusedFirsts'])
  for (const pair of asList(edges['edges'])) {
    const [key, value] = asList(pair)
    const edge = asRecord(value)
    watch.edges.edges.set(asText(key), { count: asNumber(edge['count']), at: asNumber(edge['at']) })
  }
  watch.credentialsHeldUntil = asNumber(fields['credentialsHeldUntil'])
  watch.claimHeldUntil = asNumber(fields['claimHeldUntil'])
  watch.leakHeldUntil = asNumber(fields['leakHeldUntil'])
  for (const name of ['signals', 'byOthers'] as const) {
    for (const signal of asList(fields[name]).map(parseSignal)) {
      addSignal(watch, signal, { signalsMax: Number.POSITIVE_INFINITY })
    }
  }
  return watch
}

function fillRate(state: RateState, fields: Record<string, unknown>): void {
  for (const key of Object.keys(state) as (keyof RateState)[]) state[key] = asNumber(fields[key])
}

function parseSignal(value: unknown): Signal {
  const fields = asRecord(value)
  return {
    detector: asText(fields['detector']),
    agent: asPrincipal(fields['agent']),
    at: asNumber(fields['at']),
    weight: asNumber(fields['weight']),
    says: asText(fields['says']),
  }
}

function asPrincipal(value: unknown): PrincipalKey {
  if (!isPrincipalKey(value)) throw damaged()
  return value
}

function damaged(): TypeError {
  return new TypeError('this is not a snapshot of detection')
}

function asRecord(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged()
  return { ...value }
}

function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw damaged()
  return value
}

function asText(value: unknown): string {
  if (typeof value !== 'string') throw damaged()
  return value
}

function asNumber(value: unknown): number {
  if (typeof value !== 'number') throw damaged()
  return value
}

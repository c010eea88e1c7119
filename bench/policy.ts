import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { createCedarParser } from '../packages/fabric/src/adapters/cedar/cedar-parser.ts'
import { compilePolicies } from '../packages/fabric/src/policy/compile-policies.ts'
import type { PolicyRequest, PolicySet } from '../packages/fabric/src/policy/policy.ts'
import { toCedarRequest } from './policy-oracle.ts'

const warmupMs = 300
const measureMs = 1_000
/** Questions between two looks at the clock. */
const batch = 64
/**
 * Requests are made ahead, so that making them is not measured; enough to defeat any single cache.
 */
const requestCount = 512

/** The kinds of policy that real sets consist of; `n` keeps the copies of a larger set apart. */
function realisticPolicies(n: number): string {
  return `
@mask("card,email") permit(principal in Role::"reader-${n}", action == Action::"call", resource == Agent::"billing-${n}")
  when { context.signed && context.risk < 50 };
permit(principal in Role::"writer-${n}", action == Action::"call", resource == Agent::"billing-${n}")
  when { ["read", "refund"].contains(context.tool) && context.method == "certificate" };
permit(principal in Segment::"team-${n}", action == Action::"call", resource in Segment::"team-${n}");
permit(principal in Role::"publisher-${n}", action == Action::"publish", resource == Channel::"orders-${n}")
  when { context.labels.contains("order") };
permit(principal in Role::"consumer-${n}", action == Action::"consume", resource == Channel::"orders-${n}");
permit(principal in Role::"auditor-${n}", action == Action::"read", resource)
  when { context.operation like "receipt.*" };
permit(principal == Agent::"agent-${n}", action == Action::"call", resource in Role::"tool")
  when { principal.hasTag("team") && principal.getTag("team") == "payments" };
permit(principal == Agent::"agent-${n}", action == Action::"discover", resource);
forbid(principal in Role::"contractor-${n}", action, resource in Segment::"team-${n}")
  unless { context.now.toTime() >= duration("8h") && context.weekday <= 5 };
forbid(principal, action == Action::"call", resource == Agent::"billing-${n}")
  when { resource.numbers.hasTag("risk-max") && context.risk > resource.numbers.getTag("risk-max") };
`
}

function requestFor(i: number, copies: number): PolicyRequest {
  const n = i % copies
  const action = (['call', 'call', 'call', 'publish', 'consume', 'read'] as const)[i % 6] ?? 'call'
  const isChannel = action === 'publish' || action === 'consume'
  const roles = ['reader', 'writer', 'publisher', 'consumer', 'auditor'].map(
    (role) => `${role}-${n}`,
  )
  return {
    principal: {
      kind: 'agent',
      name: `agent-${n}`,
      roles: [roles[i % roles.length] ?? '', 'agent'],
      segment: `team-${(i * 7) % copies}`,
      attributes: { team: i % 2 === 0 ? 'payments' : 'search', level: 3 },
    },
    action,
    resource: {
      kind: isChannel ? 'channel' : 'agent',
      name: `${isChannel ? 'orders' : 'billing'}-${n}`,
      roles: ['tool'],
      segment: `team-${n}`,
      attributes: { 'risk-max': 60 },
    },
    context: {
      transport: 'gateway',
      protocol: 'mcp',
      operation: action === 'read' ? 'receipt.get' : 'tools/call',
      tool: i % 3 === 0 ? 'refund' : 'read',
      method: 'certificate',
      signed: i % 4 !== 0,
      risk: (i * 13) % 100,
      labels: isChannel ? ['order'] : [],
      time: 1_760_000_000 + i,
    },
  }
}

/** Cycles through `count` prepared questions for a while; answers per second of processor time. */
function ratePerSecond(count: number, ask: (i: number) => unknown): number {
  askFor(warmupMs, count, ask)
  const before = process.cpuUsage()
  const asked = askFor(measureMs, count, ask)
  const { user, system } = process.cpuUsage(before)
  return Math.round((asked * 1_000_000) / (user + system))
}

function askFor(durationMs: number, count: number, ask: (i: number) => unknown): number {
  const end = performance.now() + durationMs
  let asked = 0
  while (performance.now() < end) {
    for (let k = 0; k < batch; k++) ask(asked++ % count)
  }
  return asked
}

async function measureSet(copies: number): Promise<number> {
  const sources = Array.from({ length: copies }, (_, n) => ({
    name: `${String(n).padStart(4, '0')}.cedar`,
    text: realisticPolicies(n),
  }))
  const parser = createCedarParser()
  const dataClasses = ['card', 'email']
  const set: PolicySet = await compilePolicies(sources, { parser, dataClasses })
  const requests = Array.from({ length: requestCount }, (_, i) => requestFor(i, copies))
  return ratePerSecond(requestCount, (i) => {
    const request = requests[i]
    return request && set.decide(request)
  })
}

function measureWasm(): number {
  cedar.preparsePolicySet('bench', { staticPolicies: realisticPolicies(0) })
  const calls = Array.from({ length: 32 }, (_, i) => ({
    ...toCedarRequest(requestFor(i, 1)),
    preparsedPolicySetId: 'bench',
    validateRequest: false,
  }))
  return ratePerSecond(calls.length, (i) => {
    const call = calls[i]
    return call && cedar.statefulIsAuthorized(call)
  })
}

/**
 * Decisions per second of one core (all threads' processor time counted): ours with 10 and 1,000
 * policies, and cedar-wasm with the 10.
 */
export async function measurePolicy(): Promise<{
  decisionsPerSecond10: number
  decisionsPerSecond1000: number
  wasmPerSecond10: number
}> {
  return {
    decisionsPerSecond10: await measureSet(1),
    decisionsPerSecond1000: await measureSet(100),
    wasmPerSecond10: measureWasm(),
  }
}

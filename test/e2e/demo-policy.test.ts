import { describe, expect, test } from 'vitest'
import {
  AGENTS,
  DEMO_CHANNEL,
  DEMO_POLICY,
  DEMO_POLICY_FILE,
  MASKED_CLASSES,
} from '../../packages/demo/src/demo-policy.ts'
import { createCedarParser } from '../../packages/fabric/src/adapters/cedar/cedar-parser.ts'
import { compilePolicies } from '../../packages/fabric/src/policy/compile-policies.ts'
import type { PolicyRequest } from '../../packages/fabric/src/policy/policy.ts'
import { DATA_CLASSES } from '../../packages/fabric/src/redaction/redactor.ts'

const policies = await compilePolicies([{ name: DEMO_POLICY_FILE, text: DEMO_POLICY }], {
  parser: createCedarParser(),
  dataClasses: DATA_CLASSES,
})

function subject(kind: 'agent' | 'channel', name: string) {
  return { kind, name, roles: ['demo'], segment: 'demo', attributes: {} } as const
}

interface Asked {
  readonly from?: string
  readonly action?: PolicyRequest['action']
  readonly to: PolicyRequest['resource']
  readonly context?: Partial<PolicyRequest['context']>
}

function decide({ from = AGENTS.support, action = 'call', to, context = {} }: Asked) {
  return policies.decide({
    principal: { ...subject('agent', from), kind: 'agent' },
    action,
    resource: to,
    context: {
      transport: 'gateway',
      protocol: 'a2a',
      operation: 'SendMessage',
      tool: '',
      method: 'certificate',
      signed: true,
      risk: 0,
      labels: [],
      time: 0,
      ...context,
    },
  })
}

const billing = subject('agent', AGENTS.billing)
const records = subject('agent', AGENTS.records)
const channel = subject('channel', DEMO_CHANNEL)

describe('the policies of the demo', () => {
  test('let support ask billing, masked and signed by both', () => {
    const { effect, obligations } = decide({ to: billing })
    expect(effect).toBe('permit')
    expect(obligations.mask).toEqual([...MASKED_CLASSES].toSorted())
    expect(obligations).toMatchObject({ signedRequest: true, signedResponse: true })
  })

  test('let support use one tool of records, and no other', () => {
    const calling = (tool: string) => ({ protocol: 'mcp', operation: 'tools/call', tool }) as const
    expect(decide({ to: records, context: calling('find_record') }).effect).toBe('permit')
    expect(decide({ to: records, context: calling('delete_record') }).effect).toBe('deny')
    expect(decide({ to: records, context: calling('') }).effect).toBe('deny')
    const listing = { protocol: 'mcp', operation: 'tools/list' } as const
    expect(decide({ to: records, context: listing }).effect).toBe('permit')
  })

  test('let one end of the channel write and the other read', () => {
    const ways = [
      ['publish', AGENTS.support, 'permit'],
      ['consume', AGENTS.support, 'deny'],
      ['publish', AGENTS.billing, 'deny'],
      ['consume', AGENTS.billing, 'permit'],
    ] as const
    for (const [action, from, effect] of ways) {
      expect(decide({ action, from, to: channel }).effect).toBe(effect)
    }
  })

  test('open nothing to any other agent, whatever role or segment they share', () => {
    const elsewhere = subject('agent', 'payroll')
    expect(decide({ from: 'payroll', to: billing }).effect).toBe('deny')
    expect(decide({ to: elsewhere }).effect).toBe('deny')
    expect(decide({ from: 'payroll', action: 'consume', to: channel }).effect).toBe('deny')
  })
})

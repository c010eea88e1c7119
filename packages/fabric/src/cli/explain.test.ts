import { expect, test } from 'vitest'
import { explain } from './explain.ts'
import { createTerminal } from './output/terminal.ts'

const screen = { write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

const refusal = {
  kind: 'refusal',
  exchange: 'exc_1',
  index: 3,
  at: 0,
  facts: {
    code: 'NOT_PERMITTED',
    receiver: 'billing',
    protocol: 'http',
    operation: 'GET',
    tool: '',
    'request.digest': 'ab',
    'private.detail': 'no policy permits it\u001b[2J',
    'private.request': '{}',
  },
  ...{
    caller: 'other',
    principal: 'other',
    object: null,
    reason: null,
    changedBy: null,
    producer: null,
  },
  ended: { result: 'refused', code: 'NOT_PERMITTED', reason: null },
} as const

test('a refusal is explained by its code, its detail and the policies', () => {
  const policy = { text: 'Denied: agent "other" asks to call agent "billing".\n  line two' }
  const text = explain({ exchange: 'exc_1', entries: [refusal], policy }, terminal)
  expect(text).toContain('NOT_PERMITTED: policy does not allow this')
  expect(text).toContain('  Denied: agent "other"')
  expect(text).toContain('no policy permits it')
  expect(text).not.toContain('\u001b')
  expect(text).not.toContain('request.digest')
})

test('an exchange that never came to policy is explained as such', () => {
  const text = explain({ exchange: 'exc_1', entries: [refusal], policy: null }, terminal)
  expect(text).toContain('before policy was asked')
})

test('administration is explained with its object and reason, and an open exchange as open', () => {
  const { ended: _, ...facts } = refusal
  const intent = { ...facts, kind: 'intent', facts: { operation: 'agent.revoke' }, ended: null }
  const about = { object: 'billing', reason: 'left the company' }
  const text = explain(
    { exchange: 'exc_1', entries: [{ ...intent, ...about }], policy: null },
    terminal,
  )
  expect(text).toMatch(/^object +billing$/m)
  expect(text).toMatch(/^reason +left the company$/m)
  expect(text).toMatch(/^ended +still open$/m)
  expect(text).toMatch(/^recorded by +the fabric$/m)
})

test('a lifecycle entry is explained by its event and its principal', () => {
  const facts = { event: 'enrolled', agent: 'spiffe://a.test/agent/planner' }
  const entry = { ...refusal, kind: 'lifecycle', caller: null, principal: 'planner', facts }
  const entries = [{ ...entry, ended: null }]
  const text = explain({ exchange: 'exc_1', entries, policy: null }, terminal)
  expect(text).toMatch(/^event +enrolled$/m)
  expect(text).toMatch(/^principal +planner$/m)
  expect(text).not.toContain('not authenticated')
})

test('an exchange that another process delivers is explained as neither delivered nor lost', () => {
  const { ended: _, ...facts } = refusal
  const intent = { ...facts, kind: 'intent', facts: { operation: 'GET' }, ended: null } as const
  const ended = { result: 'unobserved', code: null, reason: null } as const
  const outcome = { ...intent, kind: 'outcome', facts: { result: 'unobserved' }, ended } as const
  const text = explain({ exchange: 'exc_1', entries: [intent, outcome], policy: null }, terminal)
  expect(text).toMatch(/^ended +unobserved$/m)
  expect(text).toContain('unobserved: permitted and handed over')
  expect(text).not.toMatch(/delivered:|may have acted/)
})

import { expect, test } from 'vitest'
import { explain } from './explain.ts'
import { createTerminal } from './output/terminal.ts'

const screen = { write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

const refusal = {
  kind: 'refusal',
  exchange: 'dec_1',
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
  caller: 'other',
}

test('a refusal is explained by its code, its detail and the policies', () => {
  const policy = { text: 'Denied: agent "other" asks to call agent "billing".\n  line two' }
  const text = explain({ exchange: 'dec_1', entries: [refusal], policy }, terminal)
  expect(text).toContain('NOT_PERMITTED: policy does not allow this')
  expect(text).toContain('  Denied: agent "other"')
  expect(text).toContain('no policy permits it')
  expect(text).not.toContain('\u001b')
  expect(text).not.toContain('request.digest')
})

test('an exchange that never came to policy says so', () => {
  const text = explain({ exchange: 'dec_1', entries: [refusal], policy: null }, terminal)
  expect(text).toContain('before policy was asked')
})

import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { exampleCall, shellWord } from './example-call.ts'

test('a shell reads back every word as it was', () => {
  const words = fc.sample(fc.string({ unit: 'grapheme-ascii', maxLength: 20 }), 100)
  const hostile = [
    "'; rm -rf /; '",
    '$(id)',
    '`id`',
    '-rf',
    '~',
    '*',
    "it's",
    '',
    '\\',
    '\n',
    'é\u202e',
  ]
  const all = [...hostile, ...words]
  const script = `printf '%s\\0' ${all.map((word) => shellWord(word)).join(' ')}`
  const read = execFileSync('sh', ['-c', script]).toString('utf8').split('\0').slice(0, -1)
  expect(read).toEqual(all)
})

const order = { address: 'https://127.0.0.1:8443/agents/a/', key: 'csk_x', rootFile: '/d d/ca.pem' }

test('the example for plain HTTP gets the root and the key', () => {
  const words = exampleCall({ ...order, protocol: 'auto' })
  expect(words).toContain("--cacert '/d d/ca.pem'")
  expect(words).toContain("-H 'X-Api-Key: csk_x'")
  expect(words).not.toContain('-d ')
})

test.each(['auto', 'http', 'a2a', 'mcp'] as const)(
  'the example for %s shows the headers of the response, one of which names the exchange',
  (protocol) => {
    const script = exampleCall({ ...order, protocol }).replace(/^curl/, `printf '%s\\n'`)
    const words = execFileSync('sh', ['-c', script]).toString('utf8').split('\n')
    expect(words).toContain('-i')
  },
)

test.each(['a2a', 'mcp'] as const)('the example for %s sends hello in JSON-RPC', (protocol) => {
  const script = exampleCall({ ...order, protocol }).replace(/^curl/, `printf '%s\\0'`)
  const words = execFileSync('sh', ['-c', script]).toString('utf8').split('\0')
  const body: unknown = JSON.parse(words[words.indexOf('-d') + 1] ?? '')
  expect(body).toMatchObject({ jsonrpc: '2.0', id: 1 })
})

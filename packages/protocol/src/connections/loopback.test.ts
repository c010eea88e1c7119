import { describe, expect, test } from 'vitest'
import { isConfidential, loopbackHostnames } from './loopback.ts'

describe('a URL that is encrypted or stays on the machine', () => {
  test.each([
    'https://agent.example/',
    'https://10.0.0.1:8443',
    'http://localhost:9000',
    'http://LOCALHOST:9000',
    'http://127.0.0.1',
    'http://127.1/',
    'http://0x7f000001/',
    'http://[::1]:9000/a2a',
    'http://[0:0:0:0:0:0:0:1]',
  ])('%s', (text) => expect(isConfidential(new URL(text))).toBe(true))
})

describe('a URL that is neither', () => {
  test.each([
    'http://agent.example/',
    'http://10.0.0.1',
    'http://0.0.0.0:9000',
    'http://127.0.0.2',
    'http://[::]',
    'http://[::ffff:127.0.0.1]',
    'http://localhost.example',
    'http://localhost.:9000',
    'http://127.0.0.1.example',
    'http://127.0.0.1@agent.example',
    'ftp://localhost',
    'ws://127.0.0.1',
    'wss://agent.example',
  ])('%s', (text) => expect(isConfidential(new URL(text))).toBe(false))
})

test('names are those that URL.hostname gives, with the brackets of an IPv6 address', () => {
  for (const name of loopbackHostnames) expect(new URL(`http://${name}`).hostname).toBe(name)
})

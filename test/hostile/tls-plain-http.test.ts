import { connect } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

/** Everything that comes back until the connection ends, however it ends. */
function heardAfter(text: string): Promise<string> {
  return new Promise((resolve) => {
    let heard = ''
    const socket = connect(lab.port, '127.0.0.1', () => socket.write(text))
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1')
    })
    socket.on('error', () => undefined)
    socket.once('close', () => resolve(heard))
  })
}

test.each([
  'GET / HTTP/1.1\r\nhost: a\r\n\r\n',
  'POST /v1/admin HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}',
  'DELETE / HTTP/1.1\r\nhost: a\r\n\r\n',
  'CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  `GET /${'a'.repeat(100_000)}`,
])(
  'plain HTTP to a TLS port receives an error and goes no further, and the port serves on',
  async (text) => {
    const heard = await heardAfter(text)
    // The rest of a long request lies unread, and the reset that follows can overtake the answer.
    if (text.length < 1_000) expect(heard).toMatch(/^HTTP\/1\.1 400 .*speaks https/s)
    else expect(heard).toMatch(/^$|speaks https/)
    const credential = forge({ issuer: lab.intermediate })
    expect(await lab.attempt({ credential })).toMatchObject({ accepted: true })
  },
)

test('a failed handshake receives no HTTP', async () => {
  const old = await heardAfter('\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00')
  expect(old).not.toContain('HTTP')
})

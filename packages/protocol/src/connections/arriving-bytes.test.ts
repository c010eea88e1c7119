import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { ArrivingBytes, endMemory } from './arriving-bytes.ts'
import { guardConnections } from './connections.ts'

test('bytes that have their memory to themselves are gone, and no others', () => {
  const own = new Uint8Array(100)
  endMemory(own)
  expect(own.length).toBe(0)
  const shared = new Uint8Array(100)
  endMemory(shared.subarray(1))
  endMemory(shared.subarray(0, 99))
  expect(shared.length).toBe(100)
  endMemory(new Uint8Array(new SharedArrayBuffer(100)))
})

test('bytes that grow give back the memory that they leave, and no piece of the sender', () => {
  const held = new ArrivingBytes(1_000_000)
  const piece = new Uint8Array(100_000).fill(1)
  held.add(piece)
  expect(held.isBorrowed).toBe(true)
  for (let at = 0; at < 7; at++) held.add(piece)
  expect(held.isBorrowed).toBe(false)
  expect(piece.length).toBe(100_000)
  const whole = held.take()
  expect(whole.length).toBe(800_000)
  expect(whole.every((byte) => byte === 1)).toBe(true)
})

test('a read of a body is gone once it was parsed, and the body is as it was sent', async () => {
  const reads: Buffer[] = []
  const server = createServer()
  server.on('connection', (socket) => socket.on('data', (read: Buffer) => reads.push(read)))
  const received = createHash('sha256')
  guardConnections(server, {
    handle(asked, response) {
      const pieces: Buffer[] = []
      ;(asked as IncomingMessage).on('data', (piece: Buffer) => pieces.push(piece))
      asked.on('end', () => {
        for (const piece of pieces) received.update(piece)
        response.end()
      })
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as AddressInfo
    // Without an empty line, at which the gate would cut a read.
    const body = randomBytes(4 * 1024 * 1024).map((byte) => byte | 0x80)
    await new Promise((resolve) => {
      const asked = request({ host: '127.0.0.1', port, method: 'POST' }, resolve)
      asked.end(body)
    })
    expect(received.digest()).toEqual(createHash('sha256').update(body).digest())
    const whole = reads.slice(2, -1).filter(({ length }) => length > 0)
    expect(reads.length).toBeGreaterThan(10)
    expect(whole).toEqual([])
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

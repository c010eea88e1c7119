import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameAccount } from './frame-account.ts'

const mebibyte = 1024 * 1024

/** Of a connection that has acknowledged our settings. */
function settled(): FrameAccount {
  const account = new FrameAccount()
  account.emptyTable()
  return account
}

test('the frames that a client needs are never too many, whatever its requests and bodies are', () => {
  const sample = fc.record({
    requests: fc.nat(200),
    headBytes: fc.nat(2 * 1024),
    pieces: fc.array(fc.integer({ min: 1, max: 16_384 }), { maxLength: 100 }),
    // One frame of 13 bytes for each 16 KiB of a gigabit per second.
    controlBytes: fc.nat(50_000),
  })
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 50 }), (samples) => {
      const account = settled()
      let readBytes = 0
      return samples.every(({ requests, headBytes, pieces, controlBytes }) => {
        // `b` has six bits in the code of HPACK; 12 octets are the frame, the name and the lengths.
        readBytes += controlBytes + requests * (12 + Math.ceil((headBytes * 6) / 8))
        for (let at = 0; at < requests; at++) account.request(['a', 'b'.repeat(headBytes)])
        for (const piece of pieces) {
          readBytes += piece + 9
          account.piece(piece)
        }
        return !account.isOver(readBytes, 500)
      })
    }),
  )
})

test('a burst is allowed once, and the rate for ever', () => {
  const account = new FrameAccount()
  let readBytes = mebibyte
  expect(account.isOver(readBytes, 500)).toBe(false)
  for (let at = 0; at < 100; at++) {
    readBytes += 64 * 1024
    expect(account.isOver(readBytes, 500)).toBe(false)
  }
  expect(account.isOver(readBytes + mebibyte, 500)).toBe(true)
})

test('requests and pieces of one moment pay for no flood of a later one', () => {
  const account = new FrameAccount()
  for (let at = 0; at < 1_000; at++) account.request(['a', 'b'])
  account.piece(64 * mebibyte)
  expect(account.isOver(1_000, 500)).toBe(false)
  expect(account.isOver(2 * mebibyte, 500)).toBe(true)
})

test('a request pays for its own head, and for no frames next to it', () => {
  const account = settled()
  for (let at = 0; at < 200; at++) account.request([':method', 'GET', ':path', '/v1/nothing.css'])
  expect(account.isOver(200 * 33 * 1024, 500)).toBe(true)
})

test('single bytes pay for themselves, heads of frames and padding for nothing', () => {
  const account = settled()
  for (let at = 0; at < 16_384; at++) account.piece(1)
  expect(account.isOver(16_384 * 10, 500)).toBe(false)
  for (let at = 0; at < 16_384; at++) account.piece(1)
  expect(account.isOver(16_384 * (10 + 255), 500)).toBe(true)
})

test('a field that may refer to the table pays for one octet, whatever its value is', () => {
  const head = [':method', 'GET', ':path', '/', 'x', 'a'.repeat(4_000)]
  const octets = 9 + 3
  const account = new FrameAccount()
  for (let at = 0; at < 1_000; at++) account.request(head)
  expect(account.isOver(1_000 * (octets + 1_400), 500)).toBe(true)
  const other = settled()
  for (let at = 0; at < 1_000; at++) other.request(head)
  expect(other.isOver(1_000 * (octets + 2_500), 500)).toBe(false)
})

test('a client that writes its token without Huffman coding is served at any rate', () => {
  const account = new FrameAccount()
  account.emptyTable()
  const token = 'eyJhbGciOiJFZERTQSJ9'.repeat(75)
  const head = [':method', 'POST', ':path', '/agents/echo/', 'authorization', `Bearer ${token}`]
  // Each string as it is, with its length, behind the head of its frame.
  const taken = 9 + head.reduce((octets, text) => octets + 3 + text.length, 0)
  let readBytes = 0
  for (let second = 0; second < 60; second++) {
    for (let at = 0; at < 2_000; at++) account.request(head)
    readBytes += 2_000 * taken
    expect(account.isOver(readBytes, 1_000)).toBe(false)
  }
})

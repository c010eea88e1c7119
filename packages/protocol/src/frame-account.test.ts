import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameAccount } from './frame-account.ts'

const mebibyte = 1024 * 1024

test('what a client needs is never too much, whatever its requests and bodies are', () => {
  const sample = fc.record({
    requests: fc.nat(200),
    headBytes: fc.nat(32 * 1024),
    pieces: fc.array(fc.integer({ min: 1, max: 16_384 }), { maxLength: 100 }),
    // One frame of 13 bytes for each 16 KiB of a gigabit per second.
    controlBytes: fc.nat(50_000),
  })
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 50 }), (samples) => {
      const account = new FrameAccount()
      let readBytes = 0
      return samples.every(({ requests, headBytes, pieces, controlBytes }) => {
        readBytes += controlBytes + requests * headBytes
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
  const account = new FrameAccount()
  for (let at = 0; at < 200; at++) account.request([':method', 'GET', ':path', '/v1/nothing.css'])
  expect(account.isOver(200 * 33 * 1024, 500)).toBe(true)
})

test('single bytes pay for their frames, and padding only for as much as it pads', () => {
  const account = new FrameAccount()
  for (let at = 0; at < 16_384; at++) account.piece(1)
  expect(account.isOver(16_384 * 10, 500)).toBe(false)
  for (let at = 0; at < 16_384; at++) account.piece(1)
  expect(account.isOver(16_384 * (10 + 255), 500)).toBe(true)
})

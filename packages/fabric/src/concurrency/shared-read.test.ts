import { expect, test } from 'vitest'
import { sharedRead } from './shared-read.ts'

function gatedRead() {
  const reads: PromiseWithResolvers<number>[] = []
  const read = sharedRead(() => {
    const gate = Promise.withResolvers<number>()
    reads.push(gate)
    return gate.promise
  })
  return { reads, read }
}

test('one read is under way at a time, however many ask', async () => {
  const { reads, read } = gatedRead()
  const first = read()
  const others = Array.from({ length: 100 }, () => read())
  expect(reads).toHaveLength(1)
  reads[0]?.resolve(1)
  expect(await first).toBe(1)
  await expect.poll(() => reads.length).toBe(2)
  reads[1]?.resolve(2)
  expect(new Set(await Promise.all(others))).toEqual(new Set([2]))
  expect(reads).toHaveLength(2)
})

test('a call receives a read that began after it, and never an earlier result', async () => {
  const { reads, read } = gatedRead()
  const before = read()
  reads[0]?.resolve(1)
  expect(await before).toBe(1)
  const after = read()
  expect(reads).toHaveLength(2)
  reads[1]?.resolve(2)
  expect(await after).toBe(2)
})

test('a read that fails rejects for those who share it, and the next one is made', async () => {
  const { reads, read } = gatedRead()
  const failed = read()
  const next = read()
  reads[0]?.reject(new Error('out of reach'))
  await expect(failed).rejects.toThrow('out of reach')
  await expect.poll(() => reads.length).toBe(2)
  reads[1]?.resolve(2)
  expect(await next).toBe(2)
})

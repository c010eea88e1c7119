import { utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readAll } from './body.ts'

async function* pieces(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk)
}

describe('reading a whole body', () => {
  test('gives all of its bytes, however they are cut, up to its limit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 })), async (chunks) => {
        const whole = Buffer.concat(chunks)
        const read = await readAll(pieces(...chunks), whole.length, 'ANSWER_TOO_LARGE')
        expect(Buffer.from(read).equals(whole)).toBe(true)
      }),
    )
  })

  test('stops at the first byte above its limit, with the code of its caller', async () => {
    let read = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        read += 1
        yield await Promise.resolve(utf8('0123456789'))
      }
    }
    await expect(readAll(endless(), 25, 'REQUEST_TOO_LARGE')).rejects.toMatchObject({
      code: 'REQUEST_TOO_LARGE',
    })
    expect(read).toBe(3)
  })

  test('stops when its account has no room left', async () => {
    const taken: number[] = []
    const account = {
      take: (bytes: number) => {
        taken.push(bytes)
        return taken.length < 2
      },
    }
    const body = pieces(utf8('a'), utf8('bc'), utf8('d'))
    const reading = readAll(body, 100, 'ANSWER_TOO_LARGE', account as never)
    await expect(reading).rejects.toMatchObject({ code: 'MEMORY_FULL', mayHaveActed: true })
    expect(taken).toEqual([1, 2])
  })
})

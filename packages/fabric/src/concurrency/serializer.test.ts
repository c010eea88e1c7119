import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Serializer } from './serializer.ts'

describe('a serializer', () => {
  test('starts nothing before what was asked for earlier has settled', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ turns: fc.nat({ max: 5 }), fails: fc.boolean() }), { maxLength: 12 }),
        async (pieces) => {
          const serializer = new Serializer()
          const order: string[] = []
          const settled = await Promise.allSettled(
            pieces.map(({ turns, fails }, at) =>
              serializer.run(async () => {
                order.push(`start ${at}`)
                for (let turn = 0; turn < turns; turn++) await Promise.resolve()
                order.push(`end ${at}`)
                if (fails) throw new Error(`failed ${at}`)
                return at
              }),
            ),
          )
          expect(order).toEqual(pieces.flatMap((_, at) => [`start ${at}`, `end ${at}`]))
          expect(settled.map(({ status }) => status)).toEqual(
            pieces.map(({ fails }) => (fails ? 'rejected' : 'fulfilled')),
          )
        },
      ),
    )
  })

  test('gives the value, and the very error, of the work', async () => {
    const serializer = new Serializer()
    const error = new Error('failed')
    await expect(serializer.run(() => Promise.reject(error))).rejects.toBe(error)
    expect(await serializer.run(() => Promise.resolve('value'))).toBe('value')
  })

  test('work that throws before its first promise fails as one that rejects', async () => {
    const serializer = new Serializer()
    const thrown = serializer.run(() => {
      throw new Error('thrown')
    })
    await expect(thrown).rejects.toThrow('thrown')
    expect(await serializer.run(() => Promise.resolve(1))).toBe(1)
  })

  test('two serializers do not wait for each other', async () => {
    const [held, free] = [new Serializer(), new Serializer()]
    const { promise, resolve } = Promise.withResolvers<string>()
    const waiting = held.run(() => promise)
    expect(await free.run(() => Promise.resolve('free'))).toBe('free')
    resolve('held')
    expect(await waiting).toBe('held')
  })
})

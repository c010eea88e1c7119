import { createHash } from 'node:crypto'
import { concat, frameFormats, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameTally } from './frame-tally.ts'
import { OutgoingFrames, streamOf, toLines } from './outgoing-frames.ts'
import { passingFrames } from './passing-frames.ts'

const { ndjson, blocks } = frameFormats
const bounds = { frameBytesMax: 1_024 }

/** By its definition, and not by the code under test. */
function transcript(frames: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const frame of frames) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(frame.length)
    hash.update(length).update(frame)
  }
  return new Uint8Array(hash.digest())
}

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]) {
  for (let [at, turn] = [0, 0]; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    yield bytes.slice(at, at + size)
    at += size
  }
}

async function sent(frames: OutgoingFrames): Promise<Uint8Array> {
  await frames.open(undefined)
  const parts: Uint8Array[] = []
  for (let next = await frames.next(); next !== null; next = await frames.next()) parts.push(next)
  return concat(...parts)
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 })
const json = fc.json().filter((text) => text.length < 1_000 && !/[\r\n]/.test(text))

describe('outgoing frames', () => {
  test('are the same lines however the source is cut, with the transcript of the standard', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(json, { minLength: 1, maxLength: 8 }),
        sizes,
        async (lines, cut) => {
          const data = lines.map((line) => utf8(line))
          const bytes = utf8(lines.join('\n'))
          const outgoing = new OutgoingFrames(inPieces(bytes, cut), { format: ndjson, ...bounds })
          expect(await sent(outgoing)).toEqual(utf8(`${lines.join('\n')}\n`))
          const { digest, frames, bytes: counted } = outgoing.tally.record()
          expect(digest).toEqual(transcript(data))
          expect(frames).toBe(lines.length)
          expect(counted).toBe(data.reduce((sum, { length }) => sum + length, 0))
        },
      ),
      { numRuns: 100 },
    )
  })

  test('of octets are blocks, and what passes on is what came', async () => {
    const some = fc.uint8Array({ minLength: 1, maxLength: 300 })
    await fc.assert(
      fc.asyncProperty(some, sizes, async (bytes, cut) => {
        const by = { format: blocks, frameBytesMax: 64 }
        const outgoing = new OutgoingFrames(inPieces(bytes, cut), by)
        const passing = passingFrames(blocks, 64)
        const piecesOf = [...Array(Math.ceil(bytes.length / 64)).keys()]
        const cutBytes = piecesOf.map((at) => bytes.slice(at * 64, at * 64 + 64))
        const whole = await sent(outgoing)
        expect([...whole]).toEqual([...bytes])
        const passed: Uint8Array[] = []
        for await (const piece of inPieces(whole, cut)) {
          passing.take(piece)
          passed.push(piece)
        }
        // Its readers may keep each piece after it was counted.
        expect([...concat(...passed)]).toEqual([...bytes])
        passing.end()
        expect(outgoing.tally.record().digest).toEqual(transcript(cutBytes))
        expect(passing.tally?.record()).toEqual(outgoing.tally.record())
      }),
      { numRuns: 100 },
    )
  })

  test('leave the pieces of their source as they are', async () => {
    const line = utf8(`{"a":"${'x'.repeat(500)}"}`)
    const pieces = Array.from({ length: 10 }, (_, at) => line.slice(at * 51, at * 51 + 51))
    const given = (async function* () {
      yield* pieces
    })()
    await sent(new OutgoingFrames(given, { format: ndjson, ...bounds }))
    expect([...concat(...pieces)]).toEqual([...line])
  })

  test.each([
    ['no frame', ['\n', ' \n'], 'REQUEST_MALFORMED'],
    ['a line that is two to some readers', ['{"a":\r1}\n'], 'REQUEST_MALFORMED'],
    ['a line above the limit', [`"${'x'.repeat(2_000)}`], 'REQUEST_TOO_LARGE'],
    ['neither bytes nor text', [7 as unknown as string], 'REQUEST_MALFORMED'],
  ])('of %s are not sent, and their source is ended', async (_, pieces, code) => {
    let isEnded = false
    const source = (async function* () {
      try {
        yield* pieces
        yield* pieces
      } finally {
        isEnded = true
      }
    })()
    const outgoing = new OutgoingFrames(source, { format: ndjson, ...bounds })
    await expect(outgoing.open(undefined)).rejects.toMatchObject({ code })
    await expect.poll(() => isEnded).toBe(true)
  })

  test('that do not begin end with the reason of the signal', async () => {
    const silent = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
    }
    const outgoing = new OutgoingFrames(silent, { format: ndjson, ...bounds })
    const leaving = new AbortController()
    const opening = outgoing.open(leaving.signal)
    leaving.abort(new Error('enough'))
    await expect(opening).rejects.toThrow('enough')
  })

  test('are refused where the fabric would not take them as a stream', () => {
    const refused = (method: string, contentType: string | null) => () =>
      streamOf(toLines([]), { method, contentType })
    expect(refused('GET', 'application/x-ndjson')).toThrow('a GET has no stream')
    expect(refused('POST', 'application/json')).toThrow('has no frames')
    expect(refused('POST', 'application/grpc+proto')).toThrow('HTTP/2')
    expect(refused('POST', 'application/jsonl; charset=utf-8')).not.toThrow()
  })

  test('of values are one line each, and a value without a form in JSON is none', async () => {
    const lines: string[] = []
    const reading = (async () => {
      for await (const line of toLines([1, 'a\nb', undefined])) lines.push(line)
    })()
    await expect(reading).rejects.toMatchObject({ code: 'REQUEST_MALFORMED' })
    expect(lines).toEqual(['1\n', '"a\\nb"\n'])
  })
})

test('a tally knows the digest of the first frames, as far back as it keeps them', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 12 }), (frames) => {
      const tally = new FrameTally(4)
      for (const frame of frames) tally.add(frame)
      for (let count = 0; count <= frames.length + 1; count++) {
        const isKnown = count <= frames.length && count >= frames.length - 4
        const first = frames.slice(0, count)
        const bytes = first.reduce((sum, { length }) => sum + length, 0)
        const expected = isKnown ? { digest: transcript(first), frames: count, bytes } : null
        expect(tally.recordOfFirst(count)).toEqual(expected)
      }
    }),
  )
})

test.each([0, -1, 1_023, 1_500.5, Number.NaN, 5_000_000])(
  'no stream has frames of %d bytes',
  (frameBytes) => {
    const head = { method: 'POST', contentType: 'application/octet-stream', frameBytes }
    expect(() => streamOf(inPieces(utf8('a'), [1]), head)).toThrow(/frameBytes is a whole number/)
  },
)

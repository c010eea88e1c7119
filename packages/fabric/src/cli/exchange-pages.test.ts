import type { ExchangePage, ExchangeView, LogPartArgs } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { collectPages } from './exchange-pages.ts'

const view = (index: number): ExchangeView => ({
  ...{ kind: 'refusal', exchange: `exc_${index}`, index, at: 0, facts: {}, durationMs: null },
  ...{ caller: null, principal: null, producer: null, object: null, reason: null },
  ...{ changedBy: null, ended: null },
})

/** A log of `size` exchanges that answers with `most` at a time, and at first with none. */
function logOf(size: number, most: number, waits = 0) {
  const asked: LogPartArgs[] = []
  const ask = (args: LogPartArgs): Promise<ExchangePage> => {
    asked.push(args)
    const count = Math.min(args.countMax ?? 50, most)
    const bound = Number(args.before ?? args.after ?? size)
    if (asked.length <= waits) {
      return Promise.resolve({ exchanges: [], older: String(bound), newer: String(bound) })
    }
    const [low, high] =
      args.after === undefined
        ? [Math.max(0, bound - count), bound]
        : [bound, Math.min(size, bound + count)]
    const exchanges = Array.from({ length: high - low }, (_, i) => view(high - 1 - i))
    return Promise.resolve({
      exchanges,
      older: low === 0 ? null : String(low),
      newer: String(high),
    })
  }
  return { asked, ask }
}

const indexes = ({ exchanges }: ExchangePage) => exchanges.map(({ index }) => index)

test('pages are put together until there are enough, newest first, in both directions', async () => {
  const { ask, asked } = logOf(5_000, 400)
  const page = await collectPages(1_100, {}, ask)
  expect(indexes(page)).toEqual(Array.from({ length: 1_100 }, (_, i) => 4_999 - i))
  expect([page.older, page.newer]).toEqual(['3900', '5000'])
  // No request is for more than one answer has.
  expect(asked.map(({ countMax }) => countMax)).toEqual([1_000, 700, 300])
  const up = await collectPages(900, { after: '100' }, ask)
  expect(indexes(up)).toEqual(Array.from({ length: 900 }, (_, i) => 999 - i))
  expect([up.older, up.newer]).toEqual(['100', '1000'])
})

test('the start and the end of the log end a list that asks for more', async () => {
  const { ask } = logOf(7, 3)
  expect(indexes(await collectPages(100, {}, ask))).toEqual([6, 5, 4, 3, 2, 1, 0])
  expect(indexes(await collectPages(100, { after: '4' }, ask))).toEqual([6, 5, 4])
  expect(indexes(await collectPages(100, { before: '2' }, ask))).toEqual([1, 0])
})

test('an answer without progress is asked for again: the index is being made', async () => {
  const { ask, asked } = logOf(7, 3, 4)
  expect(indexes(await collectPages(3, {}, ask))).toEqual([6, 5, 4])
  expect(asked).toHaveLength(5)
})

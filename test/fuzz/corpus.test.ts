import { afterAll, beforeAll, expect, test } from 'vitest'
import { readAllOurs } from './compare.ts'
import { readCorpus } from './corpus.ts'
import { kinds } from './oracle.ts'
import { type HeadReader, openHeadReader } from './ours.ts'

let heads: HeadReader

beforeAll(async () => {
  heads = await openHeadReader()
})

afterAll(() => heads.close())

test.each(kinds)('every %s of the corpus is read as it was', async (kind) => {
  const cases = readCorpus().filter((one) => one.kind === kind)
  expect(cases).not.toEqual([])
  const shown = (readings: readonly (string | null)[]) =>
    readings.map((reading, i) => [cases[i]?.body.toString(), reading])
  const readings = await readAllOurs(cases, heads)
  expect(shown(readings)).toEqual(shown(cases.map(({ ours }) => ours)))
})

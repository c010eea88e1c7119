import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeDifference, findDifference, findUnmasked } from '../fuzz/compare.ts'
import { readCorpus } from '../fuzz/corpus.ts'
import { generate, generateMasked, maskedNumber } from '../fuzz/generate.ts'
import {
  chromiumPath,
  hasCommand,
  kinds,
  type Oracle,
  openBrowser,
  openGo,
  openPython,
} from '../fuzz/oracle.ts'
import { type HeadReader, openHeadReader } from '../fuzz/ours.ts'

const seed = Number(process.env['FUZZ_SEED'] ?? 20261127)
const count = Number(process.env['FUZZ_COUNT'] ?? 4000)
const batch = 500

const readers = [
  { name: 'Python', isHere: hasCommand('python3', '--version'), open: openPython },
  { name: 'Go', isHere: hasCommand('go', 'version'), open: openGo },
  { name: 'Chromium', isHere: existsSync(chromiumPath), open: openBrowser },
] as const

for (const { name, isHere, open } of readers) {
  // Named as skipped where the reader is missing; in CI that fails the run.
  describe.skipIf(!isHere)(
    `${name} reads every input that we accept as we do, or rejects it`,
    () => {
      let dir = ''
      let oracle: Oracle
      let heads: HeadReader

      beforeAll(async () => {
        dir = mkdtempSync(join(tmpdir(), 'countersign-fuzz-'))
        oracle = await open(dir)
        heads = await openHeadReader()
      }, 300_000)

      afterAll(async () => {
        await oracle.close()
        await heads.close()
        rmSync(dir, { recursive: true, force: true })
      })

      test.each(kinds)('every %s of the corpus', async (kind) => {
        const cases = readCorpus().filter((one) => one.kind === kind)
        const found = await findDifference(oracle, cases, heads)
        expect(found === null ? '' : describeDifference(found, seed)).toBe('')
      })

      test.each(kinds)('every generated %s', { timeout: 300_000 }, async (kind) => {
        for (let from = 0; from < count; from += batch) {
          const cases = generate(kind, seed + from, batch)
          const found = await findDifference(oracle, cases, heads)
          expect(found === null ? '' : describeDifference(found, seed + from)).toBe('')
        }
      })

      test.each(['json', 'form', 'text'] as const)(
        'no masked number is left in %s',
        async (kind) => {
          const found = await findUnmasked(oracle, generateMasked(kind, seed, batch), maskedNumber)
          expect(found === null ? '' : Buffer.from(found.body).toString('latin1')).toBe('')
        },
      )
    },
  )
}

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { InspectionWork, inspectionStepsMax } from '../inspection-work.ts'
import { DATA_CLASSES } from '../redactor.ts'
import { createRedactor } from './create-redactor.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(9) })
const root = join(import.meta.dirname, '../../../../..')
/** The default of `limits.bodyBytes`. */
const bodyBytes = 4 * 1024 * 1024
/** Of each kind of document so many are inspected; the steps of more are in proportion. */
const sampleBytes = 384 * 1024

/** Tests hold texts that are made to cost, and of which each leaves something open for the next. */
const unordinary = /node_modules|dist\/|\.test\.ts$|^(?:hostile|fuzz)\//

function filesOf(folders: readonly string[], ending: string): string {
  const texts = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith(ending) && !unordinary.test(name))
      .toSorted()
      .map((name) => readFileSync(join(root, folder, name), 'utf8')),
  )
  return texts.join('\n')
}

/** A part of every stretch of the text, so that no kind of document in it is left out. */
function sampleOf(text: string): string {
  const parts = 24
  const size = Math.floor(sampleBytes / parts)
  const step = Math.max(size, Math.floor(text.length / parts))
  return Array.from({ length: parts }, (_, i) => text.slice(i * step, i * step + size)).join('\n')
}

/**
 * Words of the documents in an order that repeats nowhere, with signs, numbers and names between.
 */
function varied(words: readonly string[]): string {
  let seed = 7
  const next = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return seed % below
  }
  const signs = [
    ' ',
    ' ',
    ' ',
    ' ',
    ', ',
    '. ',
    '\n',
    ': ',
    ' = ',
    '-',
    '_',
    ' {',
    '} ',
    '["',
    '"] ',
    '/',
    ' 7',
    ' (',
    ') ',
    '`',
    '&amp; ',
    '%20',
    '\\n',
    ' – ',
  ]
  let text = ''
  while (text.length < sampleBytes)
    text += `${words[next(words.length)]}${signs[next(signs.length)]}`
  return text
}

const pages = filesOf(['docs'], '.md')
const sources = filesOf(['packages', 'test', 'tools'], '.ts')
const documents: Readonly<Record<string, string>> = {
  'pages in Markdown': sampleOf(pages),
  'sources in TypeScript': sampleOf(sources),
  'words in any order': varied([...new Set(`${pages} ${sampleOf(sources)}`.split(/[^\w]+/))]),
}

/** With findings, so that what is masked is looked at again. */
const withFinding = (text: string): string =>
  `${text}\nwrite to jo@acme.example, password: Zq7kLm9pW\n`

test.each(
  Object.entries(documents).flatMap(([name, text]) =>
    [text, withFinding(text)].flatMap((each) => [
      [name, 'text/plain', each] as const,
      [name, 'application/json', JSON.stringify({ contents: [{ text: each }] })] as const,
    ]),
  ),
)('a body of %s of the default limit of bodies passes as %s', (_, type, text) => {
  const body = Buffer.from(text)
  const work = new InspectionWork(Number.POSITIVE_INFINITY)
  redactor.redact(body, type, { mask: DATA_CLASSES, block: [], work })
  expect((work.spent / body.length) * bodyBytes).toBeLessThan(inspectionStepsMax)
})

import { describe, expect, test } from 'vitest'
import { verifies } from '../requirements.ts'
import { files, read } from '../tidy/source.ts'
import { citationsIn, uncited, undecidedTransports, unknownCitations } from './citations.ts'

const own = 'test/requirements/coverage.test.ts'
const cited = files
  .filter((file) => file.endsWith('.test.ts') && file !== own)
  .flatMap((file) => citationsIn(file, read(file)))

function expectNone(faults: readonly string[]): void {
  expect(faults.length === 0 ? '' : `\n${faults.join('\n')}\n`).toBe('')
}

describe('requirements', () => {
  test('every row states for each transport whether it holds there', () => {
    expectNone(undecidedTransports())
  })

  test('every citation names a promise that is made', () => {
    expectNone(unknownCitations(cited))
  })

  test('every promise is verified by a test', () => {
    expectNone(uncited(cited))
  })
})

describe('citations', () => {
  test('are read from titles and from verifies, with and without a transport', () => {
    const text = `
      test('a refusal is on record [record:refusals-too]', () => {})
      test.each(ways)('on %s [deliver:events@mesh] [revoke:live@gateway]', () => {})
      test(verifies(['queue:epochs', 'queue:bounded@queue'], 'holds'), () => {})`
    expect(citationsIn('x.test.ts', text).map(({ id, transport }) => [id, transport])).toEqual([
      ['record:refusals-too', null],
      ['deliver:events', 'mesh'],
      ['revoke:live', 'gateway'],
      ['queue:epochs', null],
      ['queue:bounded', 'queue'],
    ])
  })

  test('are not read from comments and fixtures', () => {
    const text = `// [record:refusals-too]\nconst a = '[queue:epochs]'\ntest('nothing', () => {})`
    expect(citationsIn('x.test.ts', text)).toEqual([])
  })

  test('of one transport leave the others uncovered', () => {
    const one = [{ id: 'deliver:events', transport: 'mesh', file: 'x.test.ts' }]
    expect(uncited(one)).toContain('deliver:events on gateway')
    expect(uncited([...one, { ...one[0]!, transport: 'gateway' }])).not.toContain(
      'deliver:events on gateway',
    )
  })

  test('of what was never promised are found', () => {
    const wrong = citationsIn('x.test.ts', `test('a [no:such] b [deliver:events@queue]', () => {})`)
    expect(unknownCitations(wrong)).toHaveLength(2)
  })

  test('are what verifies writes', () => {
    expect(verifies(['queue:epochs'], 'a sentence')).toBe('a sentence [queue:epochs]')
  })
})

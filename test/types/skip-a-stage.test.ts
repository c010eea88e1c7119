import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { root } from '../tidy/source.ts'

const MARK = /^\s*\/\/ @ts-expect-error ([a-z -]+): (.+)$/

/**
 * The number that the compiler picks depends on how many properties differ; the reason does not.
 */
const REASONS: Readonly<Record<string, string>> = {
  TS2322: 'wrong type',
  TS2345: 'wrong type',
  TS2739: 'wrong type',
  TS2740: 'wrong type',
  TS2741: 'wrong type',
  TS2769: 'wrong type',
  TS2540: 'read-only',
  TS2339: 'not exported',
  TS2551: 'not exported',
}

interface Expected {
  readonly line: number
  readonly reason: string
  readonly refused: string
}

/**
 * The fixture without its marks, so that the compiler reports what it would have been silent about.
 */
function unmark(text: string): { readonly text: string; readonly expected: readonly Expected[] } {
  const lines = text.split('\n')
  const expected = lines.flatMap((line, index) => {
    const [, reason, refused] = line.match(MARK) ?? []
    return reason === undefined || refused === undefined
      ? []
      : [{ line: index + 2, reason, refused }]
  })
  const bare = lines.map((line) => (MARK.test(line) ? '' : line)).join('\n')
  return { text: bare.replaceAll(`'../../packages/`, `'${root}/packages/`), expected }
}

const fixture = unmark(readFileSync(path.join(root, 'test/types/skip-a-stage.ts'), 'utf8'))

describe('a stage cannot be skipped:', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'countersign-types-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  let found: ReadonlyMap<number, readonly string[]> = new Map()

  beforeAll(() => {
    writeFileSync(path.join(folder, 'fixture.ts'), fixture.text)
    const options = {
      extends: path.join(root, 'test/tsconfig.json'),
      compilerOptions: { rootDir: '/', typeRoots: [path.join(root, 'node_modules/@types')] },
      include: ['fixture.ts'],
    }
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }')
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(options))
    found = compile(folder)
  })

  test.each(fixture.expected)('the compiler refuses code that $refused', ({ line, reason }) => {
    expect(found.get(line)).toEqual([reason])
  })

  test('the compiler refuses nothing else, the whole way least of all', () => {
    expect([...found.keys()].sort((a, b) => a - b)).toEqual(
      fixture.expected.map(({ line }) => line),
    )
  })
})

/**
 * Returns the reason why each line of the fixture is refused; errors elsewhere belong to another
 * check.
 */
function compile(folder: string): ReadonlyMap<number, readonly string[]> {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    encoding: 'utf8',
    cwd: folder,
  })
  const found = new Map<number, string[]>()
  for (const [, line, code = ''] of stdout.matchAll(/^fixture\.ts\((\d+),\d+\): error (TS\d+)/gm)) {
    found.set(Number(line), [...(found.get(Number(line)) ?? []), REASONS[code] ?? code])
  }
  return found
}

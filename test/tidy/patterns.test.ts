import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parseAst } from 'vitest/node'
import { isExponential } from './patterns.ts'
import { product, root } from './source.ts'

/** Patterns as they are written: `/…/`. */
function literalsOf(text: string, lang: 'ts' | 'tsx'): readonly RegExp[] {
  const found: RegExp[] = []
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    const { regex } = value as { regex?: { pattern: string; flags: string } }
    if (regex !== undefined) found.push(new RegExp(regex.pattern, regex.flags))
    for (const inner of Object.values(value)) look(inner)
  }
  look(parseAst(text, { lang }))
  return found
}

const builtIn = globalThis.RegExp
afterAll(() => {
  globalThis.RegExp = builtIn
})

/** Patterns that a module puts together while it is loaded. */
async function builtBy(file: string): Promise<readonly RegExp[]> {
  const built: RegExp[] = []
  globalThis.RegExp = new Proxy(builtIn, {
    construct(target, given: [string | RegExp, string?]) {
      const pattern = new target(...given)
      built.push(pattern)
      return pattern
    },
  })
  try {
    await import(path.join(root, file))
  } finally {
    globalThis.RegExp = builtIn
  }
  return built
}

test.each([
  /(a*)*b/,
  /(?:a|a)+b/,
  /(?:\s*(?:[;,]|#.*))*$/,
  /^(?:a+|b)*$/,
  /(?:a{1,2})*b/,
  /(?:\w+\s?)+$/,
  /x(?!(?:a|[ab])*c)/,
  /(?:a?b?)*c/i,
  /(?:[A-Z]|k)+!/i,
])('%s can be matched in two ways', (pattern) => {
  expect(isExponential(pattern)).toBe(true)
})

test.each([
  /(?:a|b)*c/,
  /^(?:\s+a)*\s*$/,
  /"(?:[^"\\]|\\.)*"/,
  /(?:\/\w+)+/,
  /(?:a{4})*/,
  /a*a*/,
  /^(?:a-)*(?:b-)*$/,
])('%s can be matched in one way', (pattern) => {
  expect(isExponential(pattern)).toBe(false)
})

test('no pattern of the product takes exponential time', async () => {
  const faults: string[] = []
  let count = 0
  for (const { path: file, text } of product()) {
    if (file.startsWith('packages/console/')) continue
    const built = /new RegExp\(/.test(text) ? await builtBy(file) : []
    const all = [...literalsOf(text, file.endsWith('x') ? 'tsx' : 'ts'), ...built]
    count += all.length
    faults.push(...all.filter(isExponential).map((pattern) => `${file}: ${String(pattern)}`))
  }
  expect(faults).toEqual([])
  expect(count).toBeGreaterThan(200)
})

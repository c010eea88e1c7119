import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const home = mkdtempSync(join(tmpdir(), 'countersign-demo-package-'))
const data = join(home, 'data')
const main = join(import.meta.dirname, '../main.ts')
afterAll(() => rmSync(home, { recursive: true, force: true }))

interface Missing {
  readonly specifier: string
  /** The package whose import of it fails. */
  readonly importer: 'fabric' | 'demo'
}

/**
 * Resolves a package from the root folder, where Node does not find it: the error is Node's own.
 */
function without({ specifier: missing, importer }: Missing): string {
  const hook = `
    import { registerHooks } from 'node:module'
    registerHooks({
      resolve(specifier, context, next) {
        const isMissing =
          specifier === '${missing}' && context.parentURL.includes('/packages/${importer}/')
        return next(specifier, isMissing ? { ...context, parentURL: 'file:///' } : context)
      },
    })`
  return `data:text/javascript,${encodeURIComponent(hook)}`
}

function countersign(missing: Missing, ...words: readonly string[]) {
  const flags = ['--conditions=countersign-source', '--import', without(missing)]
  return spawnSync(process.execPath, [...flags, main, ...words], {
    cwd: home,
    encoding: 'utf8',
    env: { ...process.env, XDG_CONFIG_HOME: home, NO_COLOR: '1' },
  })
}

test.each([
  ['demo'],
  ['demo --json'],
  ['demo --data data'],
  ['up --demo --data data --port 0'],
  ['up --exit-after-demo --data data --port 0'],
])('`%s` without the demo package says how to get it, and starts nothing', (words) => {
  const missing: Missing = { specifier: '@countersign/demo', importer: 'fabric' }
  const { status, stdout, stderr } = countersign(missing, ...words.split(' '))
  expect(stderr.split('\n')).toEqual([
    'error: the demo package @countersign/demo is not installed',
    expect.stringMatching(/^next: run `npm run demo` in a checkout .*install the file/),
    '',
  ])
  expect(stdout).toBe('')
  expect(status).toBe(2)
  expect(existsSync(data)).toBe(false)
})

test('a demo package that lacks a package of its own is a fault, not one to install', () => {
  const missing: Missing = { specifier: '@countersign/sdk', importer: 'demo' }
  const { status, stderr } = countersign(missing, 'demo', '--data', data)
  expect(stderr).toContain("Cannot find package '@countersign/sdk'")
  expect(status).toBe(70)
  expect(stderr).not.toContain('is not installed')
})

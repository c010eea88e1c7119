import { describe, expect, test } from 'vitest'
import { crowdedLib, deepFiles, longFiles, longFunctions, nameFaults } from './budgets.ts'
import { linkFaults, pathFaults, scriptFaults } from './documents.ts'
import { decisionFaults, stageFaults } from './exchanges.ts'
import {
  leftoverFaults,
  lockFaults,
  machineFaults,
  personFaults,
  thisMachine,
  versionFaults,
} from './hygiene.ts'
import {
  cycles,
  danglingImports,
  excuse,
  folderDirectionFaults,
  packageDirectionFaults,
  protocolPurityFaults,
  unreached,
  vendorFaults,
} from './imports.ts'
import { missingRows, pageFaults, pageWireFaults, sharedNumbers, statusFaults } from './refusals.ts'
import { parseSource, read, type Source } from './source.ts'
import {
  clockFaults,
  consoleFaults,
  defaultExportFaults,
  environmentFaults,
  expectedErrorFaults,
  looseTypeFaults,
  silencedFaults,
  testFaults,
} from './uses.ts'
import { waitFaults } from './waits.ts'

const server = (file: string, text: string): Source =>
  parseSource(`packages/fabric/src/${file}`, text)

/** Only what a planted source causes; exceptions that it does not need are another matter. */
const caused = (faults: readonly string[]): readonly string[] =>
  faults.filter((fault) => !fault.startsWith('test/tidy/exceptions.ts'))

describe('a planted fault is found:', () => {
  test.each([
    ['a module that knows a module', 'ledger/a.ts', `import { x } from '../policy/b.ts'`],
    [
      'a module that knows a module’s types',
      'ledger/a.ts',
      `import type { X } from '../policy/b.ts'`,
    ],
    [
      'a module that calls the pipeline',
      'policy/a.ts',
      `import { x } from '../pipeline/enforce.ts'`,
    ],
    ['a transport that decides', 'transports/mesh/a.ts', `import { x } from '../../policy/b.ts'`],
    ['a transport that knows another', 'transports/mesh/a.ts', `export * from '../queue/b.ts'`],
    [
      'an adapter that runs a module',
      'adapters/redis/a.ts',
      `import { x } from '../../ledger/b.ts'`,
    ],
    ['an engine that knows an engine', 'adapters/redis/a.ts', `import { x } from '../sqlite/b.ts'`],
    ['lib that knows a module', 'lib/a.ts', `const x = await import('../ledger/b.ts')`],
  ])('%s', (_, file, text) => {
    expect(caused(folderDirectionFaults([server(file, text)]))).toHaveLength(1)
  })

  test.each([
    [
      'the server that imports the SDK',
      'packages/fabric/src/transports/mesh/a.ts',
      '@countersign/sdk',
    ],
    ['the SDK that imports the server', 'packages/sdk/src/a.ts', 'countersign'],
    ['the demo that imports the server', 'packages/demo/src/a.ts', 'countersign'],
    [
      'a transport that loads the demo',
      'packages/fabric/src/transports/mesh/a.ts',
      '@countersign/demo',
    ],
    ['the console on Node’s TLS', 'packages/console/src/a.ts', '@countersign/protocol/tls'],
    ['a way around the package', 'packages/sdk/src/a.ts', '../../protocol/src/ids.ts'],
  ])('%s', (_, file, specifier) => {
    expect(packageDirectionFaults([parseSource(file, `import '${specifier}'`)])).toHaveLength(1)
  })

  test('a built-in of Node behind the protocol’s entry', () => {
    const entry = parseSource('packages/protocol/src/index.ts', `export * from './a.ts'`)
    const behind = parseSource('packages/protocol/src/a.ts', `import { x } from 'node:crypto'`)
    expect(protocolPurityFaults([entry, behind])).toHaveLength(1)
    expect(protocolPurityFaults([behind])).toEqual([])
  })

  test.each([`import pg from 'pg'`, `import('@scope/name/deep')`, `import type { X } from 'pg'`])(
    'a vendor outside adapters: %s',
    (text) => {
      expect(caused(vendorFaults([server('ledger/a.ts', text)]))).toHaveLength(1)
      expect(caused(vendorFaults([server('adapters/a/b.ts', text)]))).toEqual([])
    },
  )

  test('a circle, named once, and not one of types alone', () => {
    const a = server('lib/a.ts', `import { b } from './b.ts'`)
    const b = server('lib/b.ts', `import { a } from './a.ts'`)
    const types = server('lib/b.ts', `import type { a } from './a.ts'`)
    expect(cycles([b, a])).toEqual([`${a.path} -> ${b.path} -> ${a.path}`])
    expect(cycles([a, types])).toEqual([])
  })

  test.each([
    ['a file that makes exchanges', `import { extend } from '../pipeline/exchange.ts'`],
    ['a file that loads what makes them', `await import('../pipeline/exchange.ts')`],
    ['a cast to an exchange', 'const x = {} as unknown as Exchange<Intended>'],
    ['a cast of an exchange', 'const x = y as Exchange<Authorized>'],
  ])('%s', (_, text) => {
    expect(stageFaults([server('channels/a.ts', text)])).toHaveLength(1)
    const types = `import type { Exchange } from '../pipeline/exchange.ts'`
    expect(stageFaults([server('channels/a.ts', types)])).toEqual([])
  })

  test.each([
    ['runs a stage', `import { authorize } from '../../pipeline/authorize.ts'`],
    [
      'runs a stage next to a type',
      `import {\n  type AuthorizeDeps,\n  authorize,\n} from '../../pipeline/authorize.ts'`,
    ],
    ['asks policy', `const made = deps.authorization.policy().decide(request)`],
    ['asks a set of policies', `const { effect } = set.decide({ ...request })`],
  ])('a transport that %s', (_, text) => {
    expect(decisionFaults([server('transports/mesh/a.ts', text)])).toHaveLength(1)
    expect(decisionFaults([server('pipeline/a.ts', text)])).toEqual([])
    const types = `import { type AuthorizeDeps, QuotaRefusal } from '../../pipeline/authorize.ts'`
    expect(decisionFaults([server('transports/mesh/a.ts', types)])).toEqual([])
  })

  test('an import of a file that is missing', () => {
    expect(
      danglingImports([server('lib/a.ts', `import type { X } from './gone.ts'`)]),
    ).toHaveLength(1)
  })

  test('a source that nothing reaches, unless a worker does', () => {
    const main = server('main.ts', `new Worker(new URL('./lib/a.ts', import.meta.url))`)
    const a = server('lib/a.ts', 'export const a = 1')
    const b = server('lib/b.ts', 'export const b = 1')
    expect(unreached([main, a, b], [main.path])).toEqual([b.path])
  })

  test.each([
    ['process.env', environmentFaults, 'const x = process.env'],
    ['process.env by name', environmentFaults, `const x = process['env']['X']`],
    ['globalThis.process.env', environmentFaults, `const x = globalThis.process.env`],
    ['process.env by import', environmentFaults, `import { env } from 'node:process'`],
    ['console', consoleFaults, `console.log('x')`],
    ['Date.now', clockFaults, 'const x = Date.now()'],
    ['new Date', clockFaults, 'const x = new Date()'],
    ['Math.random', clockFaults, 'const x = Math.random()'],
    ['randomBytes', clockFaults, 'const x = randomBytes(4)'],
    ['getRandomValues', clockFaults, 'crypto.getRandomValues(x)'],
    ['getRandomValues of globalThis', clockFaults, 'globalThis.crypto.getRandomValues(x)'],
    ['any', looseTypeFaults, 'let x: Map<string, any>'],
    ['an asserted presence', looseTypeFaults, 'const x = y!.z'],
    ['a default export', defaultExportFaults, 'export default 1'],
    ['a default export by name', defaultExportFaults, 'const a = 1; export { a as default }'],
    ['an import of who knows what', vendorFaults, 'const x = await import(name)'],
    ['a require', vendorFaults, 'const x = createRequire(import.meta.url)'],
    ['a silenced error', silencedFaults, `// @ts-${'ignore'}\nconst x = 1`],
    ['an expected error', expectedErrorFaults, `// @ts-expect-${'error'} why\nconst x = 1`],
  ])('%s', (_, rule, text) => {
    expect(caused(rule([server('ledger/a.ts', text)]))).toHaveLength(1)
  })

  test('a date from a number is not the clock', () => {
    expect(caused(clockFaults([server('ledger/a.ts', 'const x = new Date(0)')]))).toEqual([])
  })

  test.each([
    `test.${'only'}('x', f)`,
    `describe.${'skip'}('x', f)`,
    `test('it ${'should'} work', f)`,
  ])('a parked or obliged test: %s', (text) => {
    expect(testFaults([server('ledger/a.test.ts', text)])).toHaveLength(1)
  })

  test.each([
    `await new Promise((wake) => set${'Timeout'}(wake, 50))`,
    `await sle${'ep'}(50)`,
    `await expect.poll(f, { time${'out'}: 10_000 }).toBe(1)`,
    `await vi.wait${'For'}(f, 10_000)`,
    `await vi.wait${'For'}(f)`,
    `test('x', async () => {\n}, 6${'0'}_000)`,
  ])('a test that waits by a time of its own: %s', (text) => {
    const faults = caused(waitFaults([server('ledger/a.test.ts', text)]))
    expect(faults).toHaveLength(1)
    expect(caused(waitFaults([server('ledger/a.ts', text)]))).toEqual([])
  })

  test('a file and a function over their budgets, comments not counted', () => {
    const lines = (count: number, line: string) => `${line}\n`.repeat(count)
    expect(caused(longFiles([server('lib/a.ts', lines(401, 'f()'))]))).toHaveLength(1)
    expect(caused(longFiles([server('lib/a.ts', lines(400, 'f()\n// why\n'))]))).toEqual([])
    const long = (count: number) => `function f() {\n${lines(count, 'g()')}}`
    expect(caused(longFunctions([server('lib/a.ts', long(69))]))).toHaveLength(1)
    expect(caused(longFunctions([server('lib/a.ts', long(68))]))).toEqual([])
  })

  test('names and places of files', () => {
    const faults = nameFaults([
      'packages/sdk/src/utils.ts',
      'packages/sdk/src/Clock.ts',
      'packages/fabric/src/ledger/index.ts',
      'packages/sdk/src/index.ts',
      'packages/sdk/src/lib/clock.ts',
      'packages/sdk/src/lib/clock.js',
    ])
    expect(faults).toHaveLength(4)
    expect(deepFiles(['packages/fabric/src/a/b/c/d/e.ts'])).toHaveLength(1)
    const lib = Array.from({ length: 15 }, (_, n) => `packages/fabric/src/lib/a${n}.ts`)
    expect(crowdedLib(lib)).toHaveLength(1)
  })

  test('an exception that nothing needs', () => {
    const exceptions = [{ where: 'a/', reason: 'b' }]
    expect(excuse([{ at: 'a/c.ts', says: 'x' }], exceptions)).toEqual([])
    expect(excuse([], exceptions)).toHaveLength(1)
    expect(excuse([{ at: 'b/c.ts', says: 'x' }], exceptions)).toHaveLength(2)
  })

  test('a broken link, anchor, path and script in a document', () => {
    expect(linkFaults('docs/x.md', '[a](./gone.md) [b](refusals.md#nowhere)')).toHaveLength(2)
    expect(
      linkFaults('docs/x.md', '[b](refusals.md#on-the-wire) [c](https://example.com)'),
    ).toEqual([])
    expect(pathFaults('docs/x.md', 'see `pipeline/gone.ts`')).toHaveLength(1)
    expect(pathFaults('docs/x.md', '```\nnode tools/gone.ts --x\n```')).toHaveLength(1)
    expect(pathFaults('docs/x.md', 'see `lib/clock.ts` and `adapters/<engine>/a.ts`')).toEqual([])
    expect(scriptFaults('docs/x.md', '`npm run gone`', new Set(['test']))).toHaveLength(1)
  })

  test('a refusal that is missing, misquoted, or has another wire form', () => {
    const page = read('docs/refusals.md')
    expect(missingRows('x', {}).length).toBeGreaterThan(20)
    expect(missingRows('x', { NO_SUCH: 1 })).toContain('x has NO_SUCH, no such refusal')
    expect(pageFaults(page.replace('no decision could be made', 'perhaps'))).toHaveLength(1)
    expect(pageFaults(page.replace(/^\| `UNDECIDED`.*\n/m, ''))).toHaveLength(1)
    const empty = { gateway: {}, mesh: {}, queue: {} }
    expect(pageWireFaults(page, empty).length).toBeGreaterThan(20)
    const row = { UNDECIDED: { status: 503, jsonRpc: -32_000 } }
    expect(statusFaults({ ...empty, gateway: row })).toHaveLength(1)
    expect(sharedNumbers({ ...empty, gateway: row })).toContainEqual(
      expect.stringContaining('reserves'),
    )
  })

  test('a registry, a home, a person, leftover work and a version apart', () => {
    const plain = { parent: null, registry: null }
    const resolved = `"resol${'ved'}": "https://x/y.tgz"`
    expect(machineFaults('a', resolved, plain)).toHaveLength(1)
    expect(machineFaults('a', `see /ho${'me'}/someone/x`, plain)).toHaveLength(1)
    expect(machineFaults('a', 'GET /home', plain)).toEqual([])
    const machine = thisMachine('/srv/places/clone', {
      npm_config_registry: 'https://npm.intern.example/',
    })
    expect(machineFaults('a', 'cd /srv/places/clone', machine)).toHaveLength(1)
    expect(machineFaults('a', 'from npm.intern.example', machine)).toHaveLength(1)
    expect(personFaults('a.md', `someone@${'some'}where.org`)).toHaveLength(1)
    expect(personFaults('a.md', 'someone@example.com')).toEqual([])
    expect(leftoverFaults('a.ts', `// TO${'DO'}: later`)).toHaveLength(1)
    expect(leftoverFaults('a.ts', `// TO${'DO'}(#7): later`)).toEqual([])
    const apart = { name: 'b', version: '2', dependencies: { a: '^1' } }
    expect(versionFaults([{ name: 'a', version: '1' }, apart])).toHaveLength(2)
    const scripted = { integrity: 'sha512-AA==', hasInstallScript: true }
    expect(lockFaults({ '': {}, 'node_modules/a': scripted })).toHaveLength(1)
    expect(lockFaults({ 'node_modules/b': {}, 'node_modules/c': { link: true } })).toHaveLength(1)
  })
})

import { defineConfig } from 'vitest/config'

// Without 'import': vitest hands these to Node, where it would apply to require() as well.
const conditions = ['countersign-source', 'node', 'default']
const elsewhere = ['**/node_modules/**', '**/dist/**']

// `npm run test:engines` asks for the other half: tests that need servers a laptop may not have,
// and those of several whole fabrics in processes of their own, which take minutes.
const engines = [
  { extends: true, test: { name: 'engines', include: ['test/engines/**/*.test.ts'] } },
]

// These replace modules or change the process they run in, or compare times, to which what other
// files have left on the heap and in the compiled code would add.
const apart = [
  'packages/fabric/src/redaction/inspection-work.test.ts',
  'test/docs.test.ts',
  'test/e2e/full-disk.test.ts',
  'test/e2e/policy-on-every-way.test.ts',
  'test/e2e/record-before-effect.test.ts',
  'test/e2e/unread-event.test.ts',
  'test/tidy/patterns.test.ts',
]

/** Vitest runs projects by their names, and what takes longest is best begun first. */
const everywhere = [
  {
    extends: true,
    test: {
      name: 'apart',
      include: apart,
      exclude: elsewhere,
    },
  },
  {
    extends: true,
    test: {
      name: 'unit',
      include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
      exclude: [...apart, 'test/engines/**', 'test/hostile/**', ...elsewhere],
      // Most of these take less time than importing what they test would take for each of them
      // again.
      isolate: false,
    },
  },
  {
    extends: true,
    test: {
      name: 'hostile',
      include: ['test/hostile/**/*.test.ts'],
      // The attacks of one worker share one world: opening a fabric costs more than most of them.
      isolate: false,
    },
  },
]

export default defineConfig(({ mode }) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    projects: mode === 'engines' ? engines : everywhere,
    // Child processes and key generation dominate; two workers fill the smallest machine we
    // promise.
    maxWorkers: 2,
    // Node loads the sources itself, as for everyone who runs them: compiled by Vite, each use of
    // an import is a call, and reading text takes twice as long.
    experimental: { viteModuleRunner: false },
    globalSetup: ['test/harness/worlds-folder.ts'],
    setupFiles: ['test/harness/properties.ts'],
    // Nothing here is a promise about time; what a test waits for has `patience` of test/harness.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000, interval: 20 } },
    execArgv: ['--conditions=countersign-source'],
  },
}))

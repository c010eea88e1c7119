import { defineConfig } from 'vitest/config'

// Without 'import': vitest hands these to Node, where it would apply to require() as well.
const conditions = ['countersign-source', 'node', 'default']

// `npm run test:engines` asks for the other half: tests that need servers a laptop may not have.
export default defineConfig(({ mode }) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include:
      mode === 'engines'
        ? ['test/engines/**/*.test.ts']
        : ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude:
      mode === 'engines'
        ? ['**/node_modules/**']
        : ['test/engines/**', '**/node_modules/**', '**/dist/**'],
    // Child processes and key generation dominate; two workers fill the smallest machine we promise.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    execArgv: ['--conditions=countersign-source'],
  },
}))

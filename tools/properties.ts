import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'

const usage = `usage: npm run properties -- [--minutes <0.1 to 1440>]

Runs every test with a property, round after round, each with inputs of its own, and ends at the first
one that fails. The round's seed is printed: PROPERTY_SEED=<seed> npm test repeats it.
`
const root = path.resolve(import.meta.dirname, '..')

const { minutes } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } }).values
const wanted = Number(minutes)
if (!(wanted >= 0.1 && wanted <= 1_440)) {
  process.stderr.write(usage)
  process.exit(2)
}
const files = globSync(['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root })
  .filter((file) => !file.startsWith(path.join('test', 'engines')))
  .filter((file) => readFileSync(path.join(root, file), 'utf8').includes("from 'fast-check'"))

const end = performance.now() + wanted * 60_000
let rounds = 0
while (performance.now() < end) {
  const seed = String(randomInt(2 ** 31))
  rounds++
  process.stdout.write(`round ${rounds}, ${files.length} files, PROPERTY_SEED=${seed}\n`)
  const { status } = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--reporter=dot', ...files],
    { cwd: root, env: { ...process.env, PROPERTY_SEED: seed }, stdio: 'inherit' },
  )
  if (status === 0) continue
  process.stdout.write(`PROPERTY_SEED=${seed} failed\n`)
  process.exit(1)
}
process.stdout.write(`${rounds} rounds passed\n`)

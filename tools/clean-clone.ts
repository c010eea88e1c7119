import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/**
 * The repository as a newcomer sees it: the last commit, cloned elsewhere, installed, and its
 * scripts run. Finds files that were never added and packages that were only ever installed here.
 *
 *     node tools/clean-clone.ts            # runs check and test
 *     node tools/clean-clone.ts demo       # runs the scripts that are named
 */
const root = path.resolve(import.meta.dirname, '..')
const scripts = process.argv.length > 2 ? process.argv.slice(2) : ['check', 'test']
const folder = mkdtempSync(path.join(tmpdir(), 'countersign-clone-'))
const clone = path.join(folder, 'countersign')

/** This machine's `node_modules/.bin` must not help; the clone's own npm scripts bring theirs. */
const searchPath = (process.env['PATH'] ?? '')
  .split(path.delimiter)
  .filter((entry) => !entry.startsWith(root))
  .join(path.delimiter)

function run(command: string, args: readonly string[], cwd: string): boolean {
  process.stdout.write(`$ ${command} ${args.join(' ')}\n`)
  const env = { ...process.env, PATH: searchPath }
  return spawnSync(command, args, { cwd, env, stdio: 'inherit' }).status === 0
}

try {
  const passed =
    run('git', ['clone', '--quiet', root, clone], folder) &&
    run('npm', ['ci'], clone) &&
    scripts.every((script) => run('npm', ['run', script], clone))
  process.stdout.write(passed ? 'clean clone: passed\n' : 'clean clone: FAILED\n')
  process.exitCode = passed ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** Every check of the repository that does not run the product; CI runs the same. */
const root = path.resolve(import.meta.dirname, '..')
const module = (file: string): string => path.join(root, 'node_modules', file)

interface Step {
  readonly name: string
  readonly commands: readonly (readonly [script: string, ...args: string[]])[]
}

const STEPS: readonly Step[] = [
  { name: 'format', commands: [[module('@biomejs/biome/bin/biome'), 'check', '.']] },
  {
    // The packages as they are published, with their own libraries; then everything that uses them.
    name: 'types',
    commands: [
      [module('typescript/bin/tsc'), '-b'],
      [module('typescript/bin/tsc'), '-p', 'test/tsconfig.json'],
    ],
  },
  // After the types: between packages the linter reads the declarations that they leave, and where
  // those are missing or old it takes what they declare for anything.
  {
    name: 'lint',
    commands: [[module('oxlint/bin/oxlint'), '--type-aware', '--deny-warnings', '.']],
  },
  {
    name: 'tidy',
    commands: [[module('vitest/vitest.mjs'), 'run', '--reporter=dot', 'test/tidy']],
  },
]

const colored = process.stdout.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
const paint = (code: number, text: string): string =>
  colored ? `\u001b[${code}m${text}\u001b[0m` : text

/** The output of the commands that failed; empty when none did. */
function run({ commands }: Step): readonly string[] {
  return commands.flatMap(([script, ...args]) => {
    const { status, stdout, stderr, error } = spawnSync(process.execPath, [script, ...args], {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      env: colored ? process.env : { ...process.env, NO_COLOR: '1' },
    })
    if (status === 0) return []
    return [`${stdout}${stderr}${error === undefined ? '' : String(error)}`.trim()]
  })
}

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`

function check(): boolean {
  const start = performance.now()
  const failed = STEPS.filter((step) => {
    const began = performance.now()
    const output = run(step)
    const verdict = output.length === 0 ? paint(32, 'ok    ') : paint(31, 'FAILED')
    process.stdout.write(`${verdict} ${step.name.padEnd(7)} ${seconds(began).padStart(7)}\n`)
    for (const text of output) process.stdout.write(`\n${text}\n\n`)
    return output.length > 0
  })
  const names = failed.map(({ name }) => name).join(', ')
  const summary = failed.length === 0 ? 'all checks passed' : `failed: ${names}`
  process.stdout.write(`check: ${summary} (${STEPS.length} steps, ${seconds(start)})\n`)
  return failed.length === 0
}

/** Workspace packages that a pull added since the last installation. */
function missingLinks(): readonly string[] {
  const manifest = (folder: string) =>
    JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8'))
  const { workspaces } = manifest('.') as { readonly workspaces: readonly string[] }
  return workspaces.filter((folder) => !existsSync(module(String(manifest(folder).name))))
}

const nodeMajor = Number(process.versions.node.split('.')[0])
if (nodeMajor < 24) {
  process.stderr.write(
    `Node ${process.versions.node} is too old; "npm run check" brings its own.\n`,
  )
  process.exitCode = 1
} else if (missingLinks().length > 0) {
  process.stderr.write(`error: ${missingLinks().join(', ')} is not linked in node_modules\n`)
  process.stderr.write('next: run `npm install`, which links the packages of this repository\n')
  process.exitCode = 1
} else if (!check()) {
  process.exitCode = 1
}

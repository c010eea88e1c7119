import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** One line of `countersign demo --json`. */
export interface Step {
  readonly step: string
  readonly ok: boolean
  readonly ms: number
  readonly checks?: readonly { readonly says: string; readonly ok: boolean }[]
  readonly processes?: Readonly<Record<string, number>>
  readonly [fact: string]: unknown
}

const main = join(import.meta.dirname, '../../packages/fabric/src/main.ts')

/** `countersign demo`, as often as a test runs it, on one folder. */
export interface DemoRuns {
  start(...args: readonly string[]): ChildProcess
  /** Resolves when it has ended without a fault. */
  run(...args: readonly string[]): Promise<Ran>
  close(): void
}

export function openDemo(): DemoRuns {
  const home = mkdtempSync(join(tmpdir(), 'countersign-demo-test-'))
  const start: DemoRuns['start'] = (...args) => startDemo(home, args)
  return {
    start,
    run: (...args) => runDemo(start(...args), args),
    close: () => rmSync(home, { recursive: true, force: true }),
  }
}

function startDemo(home: string, args: readonly string[]): ChildProcess {
  const place = ['--data', join(home, 'data')]
  const words = ['--conditions=countersign-source', main, 'demo', ...place, ...args]
  const env = { ...process.env, XDG_CONFIG_HOME: home, NO_COLOR: '1' }
  return spawn(process.execPath, words, { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] })
}

export interface Ran {
  readonly code: number | null
  readonly text: string
  readonly steps: readonly Step[]
}

async function runDemo(demo: ChildProcess, args: readonly string[]): Promise<Ran> {
  let text = ''
  let complaint = ''
  demo.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  demo.stderr?.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk))
  const code = await new Promise<number | null>((resolve) => demo.once('close', resolve))
  const lines = args.includes('--json') ? text.trim().split('\n') : []
  if (code !== 0) throw new Error(`${text}\n${complaint}`)
  return { code, text, steps: lines.map((line) => JSON.parse(line) as Step) }
}

export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The steps of the demo, in order. */
export const DEMO_STEPS = ['gateway', 'mesh', 'denied', 'queue', 'quarantine'] as const

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/** One line of `countersign demo --json`. */
interface Step {
  readonly step: string
  readonly ok: boolean
  readonly ms: number
  readonly checks?: readonly { readonly says: string; readonly ok: boolean }[]
  readonly processes?: Readonly<Record<string, number>>
  readonly [fact: string]: unknown
}

const home = mkdtempSync(join(tmpdir(), 'countersign-demo-test-'))
const data = join(home, 'data')
const main = join(import.meta.dirname, '../../packages/fabric/src/main.ts')

afterAll(() => rmSync(home, { recursive: true, force: true }))

function start(...args: readonly string[]): ChildProcess {
  const words = ['--conditions=countersign-source', main, 'demo', '--data', data, ...args]
  const env = { ...process.env, XDG_CONFIG_HOME: home, NO_COLOR: '1' }
  return spawn(process.execPath, words, { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] })
}

interface Ran {
  readonly code: number | null
  readonly text: string
  readonly steps: readonly Step[]
}

async function runDemo(...args: readonly string[]): Promise<Ran> {
  const demo = start(...args)
  let text = ''
  let complaint = ''
  demo.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  demo.stderr?.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk))
  const code = await new Promise<number | null>((resolve) => demo.once('close', resolve))
  const lines = args.includes('--json') ? text.trim().split('\n') : []
  if (code !== 0) throw new Error(`${text}\n${complaint}`)
  return { code, text, steps: lines.map((line) => JSON.parse(line) as Step) }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const steps = ['gateway', 'mesh', 'denied', 'queue', 'quarantine'] as const

describe('the demo', () => {
  let ran: Ran
  const stepOf = (name: string): Step => {
    const found = ran.steps.find(({ step }) => step === name)
    if (found === undefined) throw new Error(`there is no step ${name}`)
    return found
  }

  beforeAll(async () => {
    ran = await runDemo('--json')
  })

  test('is one JSON line a step, and every check of every step holds', () => {
    expect(ran.steps.map(({ step }) => step)).toEqual(['setup', ...steps, 'summary'])
    const failed = ran.steps.flatMap(({ step, checks = [] }) =>
      checks.filter(({ ok }) => !ok).map(({ says }) => `${step}: ${says}`),
    )
    expect(failed).toEqual([])
    expect(ran.steps.filter(({ ok }) => !ok)).toEqual([])
    const held = { steps: steps.length, held: steps.length }
    expect(stepOf('summary')).toMatchObject(held)
  })

  test('masks personal data on its way to the receiver [inspect:mask@gateway]', () => {
    const { sent, heard, masked } = stepOf('gateway')
    for (const value of ['4111 1111 1111 1111', 'anna.berg@example.com', '+44 20 7946 0958']) {
      expect(sent).toContain(value)
      expect(heard).not.toContain(value)
    }
    expect(heard).toMatch(/^Invoice 2107: refund to card \[CARD/)
    expect(masked).toBe('card:1 iban:1 email:1 phone:1')
  })

  test('has receipts signed by both ends [countersign:request] [countersign:response]', () => {
    for (const name of ['gateway', 'mesh']) {
      expect(stepOf(name)).toMatchObject({ requestBy: 'caller', responseBy: 'callee' })
    }
  })

  test('verifies a receipt offline for every exchange it made [receipt:offline]', () => {
    for (const name of ['gateway', 'mesh', 'queue', 'quarantine']) {
      const { checks = [], exchange } = stepOf(name)
      expect(exchange).toMatch(/^exc_a_[0-9a-f]{32}$/)
      const says = checks.filter(({ ok }) => ok).map((check) => check.says)
      expect(says.some((each) => each.endsWith('verified offline against the pinned keys'))).toBe(
        true,
      )
      expect(says.some((each) => each.endsWith('with one bit flipped it fails'))).toBe(true)
    }
  })

  test('calls over the mesh without a credential in the agent', () => {
    const { credentials, answer, url } = stepOf('mesh')
    expect(credentials).toEqual([])
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/demo-records\/mcp$/)
    expect(answer).toMatch(/^Berg Logistics: /)
  })

  test('explains the denial by what would have to be true [authorize:default-deny@mesh] [record:explain]', () => {
    const { refusal, why } = stepOf('denied')
    expect(refusal).toBe('NOT_PERMITTED')
    expect(why).toContainEqual(expect.stringContaining('context.tool == "find_record"'))
    expect(why).toContainEqual(expect.stringContaining('would have to be true'))
  })

  test('leaves no plaintext with the fabric [queue:ciphertext-only]', () => {
    const { plaintextFound, storedBytes, sender } = stepOf('queue')
    expect(plaintextFound).toBe(false)
    expect(storedBytes).toBeGreaterThan(0)
    expect(sender).toBe('demo-support')
  })

  test('has the acknowledgement countersigned [queue:acknowledgement-countersigned]', () => {
    const { checks = [] } = stepOf('queue')
    expect(checks).toContainEqual({ says: 'billing countersigned the acknowledgement', ok: true })
  })

  test('cuts the stream of a quarantined agent and reports it [revoke:live@gateway]', () => {
    const { cutMs, refusal, result } = stepOf('quarantine')
    expect(cutMs).toBeGreaterThan(0)
    expect(refusal).toBe('WITHDRAWN')
    expect(result).toBe('cut')
  })

  test('ends every process that it started', () => {
    const pids = Object.values(stepOf('setup').processes ?? {})
    expect(pids).toHaveLength(3)
    expect(pids.filter(isRunning)).toEqual([])
  })

  test('prints text of 80 columns for people, also when it runs again on the same folder', async () => {
    const { text } = await runDemo()
    expect(text).toContain('5 of 5 steps held')
    for (const step of steps) expect(text).toMatch(new RegExp(`✓ \\d\\. ${step}: `))
    expect(text).not.toContain('\u001b[')
    expect(text).not.toContain('✗')
    const isWide = (line: string): boolean => Array.from(line).length > 80
    expect(text.split('\n').filter(isWide)).toEqual([])
  })
})

/** An agent notices within moments that its parent is gone; this is for a machine that is busy. */
const orphanMsMax = 60_000

test('a demo that is killed leaves no agent behind', async () => {
  const demo = start('--json')
  if (demo.stdout === null) throw new Error('no output')
  let pids: readonly number[] = []
  for await (const line of createInterface({ input: demo.stdout })) {
    const { processes } = JSON.parse(line) as Step
    pids = Object.values(processes ?? {})
    break
  }
  expect(pids).toHaveLength(3)
  expect(pids.every(isRunning)).toBe(true)
  demo.kill('SIGKILL')
  for (const end = performance.now() + orphanMsMax; performance.now() < end; await sleep(50)) {
    if (!pids.some(isRunning)) break
  }
  expect(pids.filter(isRunning)).toEqual([])
})

import { describe, expect, test } from 'vitest'
import type { DemoTerminal } from './deps.ts'
import { columnsMax, createPrinter, type StepReport } from './printer.ts'
import { STEPS } from './steps.ts'

const held: StepReport = {
  step: 'gateway',
  title: 'a call',
  ok: true,
  ms: 12.345,
  checks: [
    { says: 'it arrived', ok: true },
    { says: 'it was masked', ok: true },
  ],
  seen: [['sent', 'a text']],
  facts: { exchange: 'exc_1', count: 2 },
}
const missed: StepReport = {
  ...held,
  step: 'mesh',
  ok: false,
  checks: [
    { says: 'it arrived', ok: true },
    { says: 'it was masked', ok: false },
  ],
}

interface Options {
  readonly json?: boolean
  readonly keepsRunning?: boolean
  readonly processes?: Readonly<Record<string, number>>
}

function print(steps: readonly StepReport[], options: Options = {}): string {
  let text = ''
  const terminal: DemoTerminal = {
    paint: (_, painted) => painted,
    print: (printed) => void (text += `${typeof printed === 'string' ? printed : printed.whole}\n`),
    progress: () => ({ stop: () => undefined }),
  }
  const { json = false, keepsRunning = true, processes = { 'demo-a': 17 } } = options
  const printer = createPrinter({ terminal, json, keepsRunning })
  printer.begin()
  printer.ready({ processes, ms: 100 })
  for (const step of steps) printer.step(step)
  printer.end({ ok: steps.every(({ ok }) => ok), ms: 2_000, logSize: 40, steps })
  return text
}

describe('the demo for programs', () => {
  test('is one JSON document a line, with the facts of each step', () => {
    const lines = print([held, missed], { json: true }).trim().split('\n')
    const [setup, first, second, summary] = lines.map((line) => JSON.parse(line) as object)
    expect(setup).toEqual({ step: 'setup', ok: true, ms: 100, processes: { 'demo-a': 17 } })
    expect(first).toMatchObject({
      step: 'gateway',
      ok: true,
      ms: 12.3,
      exchange: 'exc_1',
      count: 2,
    })
    expect(second).toMatchObject({ step: 'mesh', ok: false, checks: missed.checks })
    expect(summary).toEqual({
      step: 'summary',
      ok: false,
      ms: 2_000,
      steps: 2,
      held: 1,
      logSize: 40,
    })
  })
})

/** Counts code points: the demo's own texts hold no wide characters. */
const longestLine = (text: string): number =>
  Math.max(...text.split('\n').map((line) => Array.from(line).length))

describe('the demo for people', () => {
  test('marks what held and what did not, and leads on only when all of it held', () => {
    const good = print([held])
    expect(good).toContain('✓ 1. gateway: a call')
    expect(good).toContain('✓ it arrived  ✓ it was masked')
    expect(good).toContain('countersign explain exc_1')
    const bad = print([held, missed])
    expect(bad).toContain('✗ 2. mesh: a call')
    expect(bad).toContain('✗ it was masked')
    expect(bad).toContain('1 of 2 steps held')
    expect(bad).not.toContain('countersign explain')
  })

  test('does not lead to a fabric that is gone', () => {
    const text = print([held], { keepsRunning: false })
    expect(text).toContain('countersign up')
    expect(text).not.toContain('https://127.0.0.1:1')
  })

  test('shows nothing of a text that could move the cursor or rewrite a verdict', () => {
    const misleading = 'x\u001b[1A\u001b[2K✓ all fine\rgone\u202e'
    const text = print([{ ...held, seen: [['sent', misleading]], title: 'a call' }])
    for (const character of ['\u001b', '\r', '\u202e']) expect(text).not.toContain(character)
    expect(text).toContain('\\u{1b}')
  })

  test('breaks long texts at blanks and keeps every word', () => {
    const words = Array.from({ length: 60 }, (_, count) => `word${count}`)
    const text = print([{ ...held, seen: [['sent', words.join(' ')]] }])
    for (const word of words) expect(text).toMatch(new RegExp(`\\b${word}\\b`))
    expect(longestLine(text)).toBeLessThanOrEqual(columnsMax)
  })

  test('fits 80 columns, whatever its length', () => {
    const long = `${'a'.repeat(200)} ${'two words '.repeat(20)}${'😀'.repeat(50)}`
    const step: StepReport = {
      step: 'quarantine',
      title: long,
      ok: false,
      ms: 123_456.7,
      checks: [
        { says: long, ok: true },
        { says: long, ok: false },
      ],
      seen: [['sent', long]],
      facts: { exchange: 'exc_a_00000000000070008000000000000000' },
    }
    const processes = { 'demo-support': 1_234_567, 'demo-billing': 1_234_568, 'demo-c': 1_234_569 }
    const texts = [true, false].flatMap((keepsRunning) => [
      print([{ ...step, ok: true }], { keepsRunning, processes }),
      print([step], { keepsRunning, processes }),
    ])
    expect(columnsMax).toBe(80)
    for (const text of texts) expect(longestLine(text)).toBeLessThanOrEqual(80)
  })

  test('prints the title of each step on one line', () => {
    const text = print(STEPS.map(({ name, title }) => ({ ...held, step: name, title, ms: 99_999 })))
    STEPS.forEach(({ name, title }, at) => {
      expect(text).toContain(`✓ ${at + 1}. ${name}: ${title}  99999 ms\n`)
    })
  })
})

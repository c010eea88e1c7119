import { describe, expect, test } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { createTerminal } from '../output/terminal.ts'
import { createNarrator, type StepReport } from './narrator.ts'

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
  facts: { exchange: 'dec_1', count: 2 },
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

function tell(json: boolean, steps: readonly StepReport[], keepsRunning = true): string {
  let text = ''
  const stdout = { write: (chunk: string) => void (text += chunk) }
  const silent = { write: () => undefined }
  const out = createTerminal({ stdout, stderr: silent, colours: false, clock: systemClock })
  const narrator = createNarrator({ out, json, keepsRunning })
  narrator.begin()
  narrator.introduce({ processes: { 'demo-a': 17 }, ms: 100 })
  for (const step of steps) narrator.step(step)
  narrator.end({ ok: steps.every(({ ok }) => ok), ms: 2_000, logSize: 40, steps })
  return text
}

describe('the story for programs', () => {
  test('is one JSON document a line, with the facts of each step', () => {
    const lines = tell(true, [held, missed]).trim().split('\n')
    const [setup, first, second, summary] = lines.map((line) => JSON.parse(line) as object)
    expect(setup).toEqual({ step: 'setup', ok: true, ms: 100, processes: { 'demo-a': 17 } })
    expect(first).toMatchObject({
      step: 'gateway',
      ok: true,
      ms: 12.3,
      exchange: 'dec_1',
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

describe('the story for people', () => {
  test('marks what held and what did not, and leads on only when all of it held', () => {
    const good = tell(false, [held])
    expect(good).toContain('✓ 1. gateway: a call')
    expect(good).toContain('✓ it arrived  ✓ it was masked')
    expect(good).toContain('countersign explain dec_1')
    const bad = tell(false, [held, missed])
    expect(bad).toContain('✗ 2. mesh: a call')
    expect(bad).toContain('✗ it was masked')
    expect(bad).toContain('1 of 2 steps held')
    expect(bad).not.toContain('countersign explain')
  })

  test('does not lead to a fabric that is gone', () => {
    const text = tell(false, [held], false)
    expect(text).toContain('countersign up')
    expect(text).not.toContain('https://127.0.0.1:1')
  })

  test('shows nothing of a text that could move the cursor or rewrite a verdict', () => {
    const lying = 'x\u001b[1A\u001b[2K✓ all fine\rgone\u202e'
    const text = tell(false, [{ ...held, seen: [['sent', lying]], title: 'a call' }])
    for (const character of ['\u001b', '\r', '\u202e']) expect(text).not.toContain(character)
    expect(text).toContain('\\u{1b}')
  })

  test('breaks long texts at blanks and keeps every word', () => {
    const words = Array.from({ length: 60 }, (_, count) => `word${count}`)
    const text = tell(false, [{ ...held, seen: [['sent', words.join(' ')]] }])
    for (const word of words) expect(text).toMatch(new RegExp(`\\b${word}\\b`))
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(120)
  })
})

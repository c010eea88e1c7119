import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLog, formatJsonLine, formatTextLine, type LogLevel, type LogLine } from './log.ts'

function logTo(level: LogLevel = 'info') {
  const lines: LogLine[] = []
  let at = 1_700_000_000_000
  const log = createLog({ level, now: () => at, write: (line) => lines.push(line) })
  return {
    lines,
    log,
    wait: (ms: number) => {
      at += ms
    },
  }
}

describe('a log', () => {
  test('has the time, a level, the event and its facts', () => {
    const { lines, log } = logTo()
    log('policies not taken', { error: 'line 3' })
    const [line] = lines
    expect(line).toMatchObject({ level: 'warn', facts: { error: 'line 3' } })
    if (line === undefined) throw new Error('nothing was logged')
    expect(formatTextLine(line)).toBe(
      '2023-11-14T22:13:20.000Z warn  policies not taken error="line 3"',
    )
    expect(JSON.parse(formatJsonLine(line))).toEqual({
      at: '2023-11-14T22:13:20.000Z',
      level: 'warn',
      event: 'policies not taken',
      error: 'line 3',
    })
  })

  test('leaves out what is below its level', () => {
    const { lines, log } = logTo('error')
    log('policies taken')
    log('policies not taken')
    log('certificate rotation failed')
    expect(lines.map(({ event }) => event)).toEqual(['certificate rotation failed'])
  })

  test('bounds each kind of event in a minute, and reports the number of dropped ones', () => {
    const { lines, log, wait } = logTo()
    for (let i = 0; i < 50; i++) log('registration failed')
    log('another kind')
    expect(lines).toHaveLength(21)
    wait(60_000)
    log('registration failed')
    expect(lines.at(-1)?.facts).toEqual({ 'dropped before': 30 })
  })

  test('writes one bounded line without characters that a terminal acts on, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3_000 }), (text) => {
        const { lines, log } = logTo()
        log('an event', { text, [text.slice(0, 20)]: 'x' })
        for (const line of lines) {
          for (const written of [formatTextLine(line), formatJsonLine(line)]) {
            expect(written).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
            expect(written.length).toBeLessThan(30_000)
          }
        }
      }),
    )
  })
})

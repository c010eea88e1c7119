import { expect, test } from 'vitest'
import type { Clock } from '../../lib/clock.ts'
import { createOutput } from './output.ts'
import { createTerminal } from './terminal.ts'

const clock: Clock = { now: () => 0, monotonic: () => 0 }

function screens(isTTY: boolean) {
  const written = { out: '', err: '' }
  const screen = (to: 'out' | 'err') => ({
    isTTY,
    columns: 40,
    write: (text: string | Uint8Array) => {
      written[to] += String(text)
    },
  })
  return { written, stdout: screen('out'), stderr: screen('err') }
}

test('a pipe gets neither colours nor progress', () => {
  const { written, ...streams } = screens(false)
  const terminal = createTerminal({ ...streams, colours: true, clock })
  terminal.progress('working').stop()
  terminal.print(terminal.paint('red', 'no'))
  terminal.fault('it broke', 'mend it')
  expect(written).toEqual({ out: 'no\n', err: 'error: it broke\nnext: mend it\n' })
})

test('a terminal that states no size has the columns of a common one', () => {
  for (const columns of [0, undefined]) {
    const { written, stdout, stderr } = screens(true)
    const size = columns === undefined ? {} : { columns }
    const sized = { isTTY: true, write: stdout.write, ...size }
    const terminal = createTerminal({ stdout: sized, stderr, colours: false, clock })
    terminal.print('x'.repeat(81))
    expect(written.out).toBe(`${'x'.repeat(80)}\n  x\n`)
  }
})

test('NO_COLOR holds on a terminal as well', () => {
  const { written, ...streams } = screens(true)
  const terminal = createTerminal({ ...streams, colours: false, clock })
  terminal.print(terminal.paint('green', 'yes'))
  expect(written.out).toBe('yes\n')
})

test('progress is drawn on stderr and leaves nothing behind', () => {
  const { written, ...streams } = screens(true)
  const terminal = createTerminal({ ...streams, colours: true, clock })
  const progress = terminal.progress('working')
  progress.stop()
  expect(written.out).toBe('')
  expect(written.err).toContain('working')
  expect(written.err.endsWith('\r\u001b[K')).toBe(true)
})

test('with --json there is one document on stdout, and nothing else', () => {
  const { written, ...streams } = screens(true)
  const output = createOutput(createTerminal({ ...streams, colours: true, clock }), true)
  output.progress('working').stop()
  output.note('by the way')
  output.show({ digest: Uint8Array.of(1, 255), left: new Map([['a', 1n]]) }, () => 'text')
  expect(written.err).toBe('')
  expect(JSON.parse(written.out)).toEqual({ digest: '01ff', left: { a: '1' } })
})

test('with --json a stream is one document a line', () => {
  const { written, ...streams } = screens(true)
  const output = createOutput(createTerminal({ ...streams, colours: true, clock }), true)
  output.line({ n: 1 }, String)
  output.line({ n: 2 }, String)
  expect(written.out).toBe('{"n":1}\n{"n":2}\n')
})

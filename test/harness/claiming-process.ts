import { openEmbeddedGuard } from '../../packages/fabric/src/compose/counters.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'

/**
 * A process that claims each value that it reads from stdin, one on a line, and prints the answer.
 * Its arguments are the folder of used values, and `first` if no value was used before.
 */
const [dir = '', first] = process.argv.slice(2)
const { guard } = openEmbeddedGuard({
  ...{ dir, isFirst: first === 'first', clock: systemClock },
  log: (event, facts) => process.stdout.write(`log ${event} ${facts?.['reason'] ?? ''}\n`),
})
process.stdout.write('ready\n')
process.stdin.setEncoding('utf8')
let rest = ''
for await (const text of process.stdin) {
  const lines = `${rest}${String(text)}`.split('\n')
  rest = lines.pop() ?? ''
  for (const value of lines) {
    const use = { value, createdAt: systemClock.now(), windowMs: 80_000 }
    const answer = await guard.claim(use).catch((error: unknown) => `refused: ${String(error)}`)
    process.stdout.write(`${value} ${String(answer)}\n`)
  }
}

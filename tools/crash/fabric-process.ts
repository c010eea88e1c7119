import { join } from 'node:path'
import type { InviteRequest } from '../../packages/fabric/src/admin/ports.ts'
import { openFabric } from '../../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'

/** Parent to child. */
export interface Question {
  readonly invite: InviteRequest
}

/** Child to parent; the first message is `ready`. */
export type Answer =
  | { readonly ready: { readonly origin: string } }
  | { readonly invitation: string }
  | { readonly failed: string }

/**
 * A whole fabric on one folder and one port, to be killed at any moment. Nothing in here knows that
 * it is a test: what it survives, `countersign up` survives.
 */
const crashLimits = '{ requestsPerMinute: 10000000, refusalsPerMinute: 100000 }'
const [root = '', port = '0', limits = crashLimits] = process.argv.slice(2)
const text = `masterKey: { from: key-file, path: ${JSON.stringify(join(root, 'master.key'))} }
limits: ${limits}
`
const say = (answer: Answer): void => void process.send?.(answer)
const fatal = (reason: string, cause: unknown): void => {
  process.stderr.write(
    `${reason}: ${cause instanceof Error ? (cause.stack ?? '') : String(cause)}\n`,
  )
  process.exit(70)
}

// Without the harness, nothing would be left to kill it.
process.once('disconnect', () => process.exit(0))
const config = parseConfig({ path: 'crash', text }, readEnvironment(), {
  dataDir: join(root, 'data'),
  port: Number(port),
})
const fabric = await openFabric({
  config,
  clock: systemClock,
  random: systemRandom,
  log: (event, facts) => process.stderr.write(`${event} ${JSON.stringify(facts ?? {})}\n`),
  onFatal: fatal,
}).catch((cause: unknown) => {
  fatal('the fabric does not start', cause)
  throw cause
})
process.on('message', ({ invite }: Question) => {
  fabric.invite(invite).then(
    ({ join: invitation }) => say({ invitation }),
    (cause: unknown) => say({ failed: String(cause) }),
  )
})
process.once('SIGTERM', () => {
  fabric.close(1_000).then(
    () => process.exit(0),
    (cause: unknown) => fatal('the fabric did not close', cause),
  )
})
say({ ready: { origin: fabric.origin } })

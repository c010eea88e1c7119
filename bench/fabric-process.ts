import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openFabric } from '../packages/fabric/src/compose/compose.ts'
import { dangerouslyReplaceDeps } from '../packages/fabric/src/compose/stores.ts'
import { parseConfig } from '../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../packages/fabric/src/config/read.ts'
import { systemClock } from '../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import type { PipelineDeps } from '../packages/fabric/src/pipeline/enforce.ts'
import { toPem } from '../packages/protocol/src/tls.ts'
import { askControl, openIdentity } from '../packages/sdk/src/index.ts'

export interface FabricReady {
  readonly origin: string
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly trustDomain: string
  /** Join strings for the two ends of the mesh. */
  readonly echoJoin: string
  readonly peerJoin: string
}

/** The controls that can be removed, one at a time, to measure the cost of each. */
const without: Readonly<Record<string, (deps: PipelineDeps) => PipelineDeps>> = {
  nothing: (deps) => deps,
  ledger: (deps) => ({
    ...deps,
    append: ({ exchange, kind }) =>
      Promise.resolve({ exchange, kind, index: 0, leafHash: new Uint8Array(32) }),
  }),
  redaction: (deps) => ({ ...deps, redactor: { redact: (body) => ({ body, findings: [] }) } }),
  'rate-limit': (deps) => ({
    ...deps,
    authorization: {
      ...deps.authorization,
      limits: {
        spend: () => Promise.resolve({ limit: 1, remaining: 1, resetMs: 0, exhausted: false }),
      },
    },
  }),
}

const [dir = '', removed = 'nothing', upstream = ''] = process.argv.slice(2)
const config = parseConfig(
  { path: 'bench', text: 'limits: { requestsPerMinute: 10000000 }\n' },
  { ...readEnvironment(), userConfigDir: `${dir}-config` },
  { dataDir: dir, port: 0 },
)
const fabric = await openFabric({
  config,
  clock: systemClock,
  random: systemRandom,
  log: () => undefined,
  onFatal: (reason, cause) => {
    process.stderr.write(`${reason}: ${String(cause)}\n`)
    process.exit(1)
  },
  [dangerouslyReplaceDeps]: without[removed] ?? ((deps) => deps),
})
const order = { segment: '', attributes: {}, ttlSeconds: 900 }
const enrol = async (name: string, kind: 'agent' | 'user', roles: string[]) => {
  const { join: line } = await fabric.invite({ ...order, name, kind, roles })
  const onFault = (): void => undefined
  return openIdentity({ join: line, dir: join(dir, name), clock: systemClock, onFault })
}
const operator = await enrol('operator', 'user', ['operator'])
const caller = await enrol('caller', 'agent', [])
const admin = (operation: string, args: object) =>
  askControl(operator.connection, { method: 'POST', path: '/v1/admin', value: { operation, args } })
await admin('route.put', { name: 'echo', upstream, protocol: 'a2a' })
const put = (await admin('policy.put', {
  name: 'bench.cedar',
  text: `@mask("card,email,iban,ssn,phone,credential")
permit(principal, action == Action::"call", resource == Agent::"echo")
when { principal == Agent::"caller" || principal == Agent::"peer" };`,
})) as { result: { taken: boolean; problems: readonly string[] } }
if (!put.result.taken) throw new Error(put.result.problems.join('\n'))
const echoOrder = { ...order, name: 'echo', kind: 'agent', roles: [] } as const
const peerOrder = { ...order, name: 'peer', kind: 'agent', roles: [] } as const
const credential = caller.credential()
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text, { mode: 0o600 })
  return join(dir, name)
}
const { privateKey } = credential
const ready: FabricReady = {
  origin: fabric.origin,
  ca: file('bench-ca.pem', fabric.rootPem),
  cert: file('bench-cert.pem', credential.certificateChain.map((each) => toPem(each)).join('')),
  key: file(
    'bench-key.pem',
    typeof privateKey === 'string'
      ? privateKey
      : privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  ),
  trustDomain: config.trustDomain,
  echoJoin: (await fabric.invite(echoOrder)).join,
  peerJoin: (await fabric.invite(peerOrder)).join,
}
process.on('SIGTERM', () => {
  fabric.close(500).then(
    () => process.exit(0),
    () => process.exit(1),
  )
})
process.send?.(ready)

import { createServer } from 'node:http'
import { join } from 'node:path'
import { openFabric } from '../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../packages/fabric/src/config/read.ts'
import { systemClock } from '../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import { askControl, openAgent, openIdentity } from '../packages/sdk/src/index.ts'

const [dir = ''] = process.argv.slice(2)
const environment = { ...readEnvironment(), userConfigDir: `${dir}-config` }
const config = parseConfig(null, environment, { dataDir: dir, port: 0 })
const fabric = await openFabric({
  config,
  clock: systemClock,
  random: systemRandom,
  log: () => undefined,
  onFatal: () => process.exit(1),
})
const order = { segment: '', attributes: {}, ttlSeconds: 900 }
const operatorLine = await fabric.invite({
  ...order,
  name: 'operator',
  kind: 'user',
  roles: ['operator'],
})
const onFault = (): void => undefined
const operator = await openIdentity({
  join: operatorLine.join,
  dir: join(dir, 'operator'),
  clock: systemClock,
  onFault,
})
const receiver = createServer((_, response) => response.end('hello'))
await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
const address = receiver.address()
const port = typeof address === 'object' ? address?.port : 0
const admin = (operation: string, args: object) =>
  askControl(operator.connection, { method: 'POST', path: '/v1/admin', value: { operation, args } })
await admin('route.put', { name: 'hello', upstream: `http://127.0.0.1:${port}` })
await admin('policy.put', {
  name: 'bench.cedar',
  text: 'permit(principal == Agent::"first", action == Action::"call", resource == Agent::"hello");',
})
const agentLine = await fabric.invite({ ...order, name: 'first', kind: 'agent', roles: [] })
const agent = await openAgent({ join: agentLine.join, dir: join(dir, 'first') })
const reply = await agent.call('hello', { method: 'GET', path: '/' })
await reply.text()
await reply.receipt()
process.on('SIGTERM', () => process.exit(0))
process.send?.({ firstReceiptMs: performance.now() })

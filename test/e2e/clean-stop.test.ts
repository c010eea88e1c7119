import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { askControl, openAgent, openIdentity } from '@countersign/sdk'
import { expect, test } from 'vitest'
import { openFabric } from '../../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-stop-'))
const text = JSON.stringify({ masterKey: { from: 'key-file', path: join(dir, 'master.key') } })

function open() {
  const file = { path: 'test', text }
  return openFabric({
    config: parseConfig(file, readEnvironment(), { dataDir: join(dir, 'data'), port: 0 }),
    clock: systemClock,
    random: systemRandom,
    log: () => undefined,
    onFatal: (reason, cause) => {
      throw new Error(reason, { cause })
    },
  })
}

test('a stop lets what is under way end, and the next start finds it whole [operate:clean-stop]', async () => {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<ServerResponse>()
  const receiver = createServer((_, response) => {
    arrive(response)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => receiver.once('listening', resolve))
  const { port } = receiver.address() as AddressInfo

  const fabric = await open()
  const order = { segment: '', attributes: {}, ttlSeconds: 900 }
  const operatorTerms = { ...order, name: 'operator', kind: 'user', roles: ['operator'] } as const
  const operator = await openIdentity({
    join: (await fabric.invite(operatorTerms)).join,
    dir: join(dir, 'operator'),
    clock: systemClock,
    onFault: () => undefined,
  })
  const admin = (operation: string, args: object) =>
    askControl(operator.connection, {
      method: 'POST',
      path: '/v1/admin',
      value: { operation, args },
    })
  await admin('route.put', { name: 'slow', upstream: `http://127.0.0.1:${port}` })
  await admin('policy.put', {
    name: 'test.cedar',
    text: 'permit(principal == Agent::"hasty", action == Action::"call", resource == Agent::"slow");',
  })
  const callerTerms = { ...order, name: 'hasty', kind: 'agent', roles: [] } as const
  const caller = await openAgent({
    join: (await fabric.invite(callerTerms)).join,
    dir: join(dir, 'hasty'),
  })
  const reply = caller.call('slow', { method: 'GET', path: '/' })
  const underWay = await arrived
  const stopped = fabric.close(60_000)
  underWay.end('late, but here')
  expect(await (await reply).text()).toBe('late, but here')
  const { exchange } = await reply
  await caller.close()
  operator.close()
  await stopped
  receiver.close()

  const again = await open()
  const entries: string[] = []
  again.onEntry(({ kind }) => entries.push(kind))
  const line = await again.invite({ ...operatorTerms, name: 'auditor' })
  const auditor = await openIdentity({
    join: line.join,
    dir: join(dir, 'auditor'),
    clock: systemClock,
    onFault: () => undefined,
  })
  const answer = (await askControl(auditor.connection, {
    method: 'POST',
    path: '/v1/admin',
    value: { operation: 'policy.explain', args: { exchange } },
  })) as { result: { entries: readonly { kind: string }[] } }
  expect(answer.result.entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
  // Nothing was left open for the start to close.
  expect(entries).not.toContain('indeterminate')
  auditor.close()
  await again.close(0)
  rmSync(dir, { recursive: true, force: true })
})

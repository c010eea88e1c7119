import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readEnvironment } from '../config/read.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { createTerminal } from './output/terminal.ts'
import { configOf, startFabric } from './running-fabric.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-start-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const logged: string[] = []
const screen = { write: () => undefined }
const terminal = createTerminal({
  ...{ stdout: screen, stderr: screen, colours: false, clock: systemClock },
})

function start(port = 0) {
  const context = {
    terminal,
    environment: readEnvironment(),
    clock: systemClock,
    random: systemRandom,
    end: () => undefined,
  }
  const events = {
    log: (message: string) => void logged.push(message),
    onFatal: (failure: Error) => {
      throw failure
    },
  }
  return startFabric(context, configOf(context, { data: join(dir, 'data'), port }), events)
}

test('a fabric whose operator was cut off starts again, with another operator', async () => {
  const names = ['operator', 'local-operator-2', 'local-operator-3']
  let port = 0
  for (const [at, verb] of (['quarantine', 'revoke'] as const).entries()) {
    // At the same address the identity of before is still good, except that it is quarantined.
    const { operator, origin, close } = await start(port)
    port = Number(new URL(origin).port)
    const own = operator.admin(`agent.${verb}`, {
      name: names[at] ?? '',
      reason: 'its folder leaked',
    })
    // Carried out, and then it may not even read the response.
    await expect(own).rejects.toMatchObject({ code: 'WITHDRAWN' })
    await close(0)
  }
  const { operator, close } = await start()
  for (const [at, status] of ['quarantined', 'revoked', 'active'].entries()) {
    expect((await operator.admin('agent.show', { name: names[at] ?? '' })).status).toBe(status)
  }
  await operator.admin('agent.restore', { name: 'operator', reason: 'it was a drill' })
  expect(logged.filter((line) => line.includes('another operator'))).toEqual([
    'operator is quarantined or revoked, so another operator is enrolled',
    'operator is quarantined or revoked, so another operator is enrolled',
    'local-operator-2 is quarantined or revoked, so another operator is enrolled',
  ])
  await close(0)
})

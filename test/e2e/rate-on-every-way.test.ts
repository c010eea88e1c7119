import { join } from 'node:path'
import { openAgent, RefusedError } from '@countersign/sdk'
import { expect, test } from 'vitest'
import { openWorld } from '../harness/world.ts'

const perMinute = 12

test('a caller over its rate is refused with the time to wait, and others are not [authorize:rate]', async () => {
  const world = await openWorld({ limits: { requestsPerMinute: perMinute } })
  const terms = {
    kind: 'agent',
    roles: ['caller'],
    segment: '',
    attributes: {},
    ttlSeconds: 900,
  } as const
  const open = async (name: string) => {
    const { join: line } = await world.fabric.invite({ ...terms, name })
    return openAgent({ join: line, dir: join(world.dir, name) })
  }
  const busy = await open('busy')
  const calm = await open('calm')
  const call = (agent: typeof busy) =>
    agent.call('echo', { method: 'POST', path: '/', json: {} }).then((reply) => reply.text())

  for (let i = 0; i < perMinute; i++) await call(busy)
  const refused = await call(busy).catch((cause: unknown) => cause)
  expect(refused).toBeInstanceOf(RefusedError)
  expect(refused).toMatchObject({ code: 'RATE_LIMITED', status: 429 })
  expect((refused as RefusedError).retryAfterMs).toBeGreaterThan(0)
  await call(calm)

  await world.admin('channel.create', { name: 'rates', members: ['busy', 'calm'] })
  const sent: string[] = []
  for (let i = 0; i < perMinute + 3; i++) {
    const code = await busy
      .channel('rates')
      .send('x')
      .then(
        () => 'ok',
        (cause: unknown) => (cause instanceof RefusedError ? cause.code : String(cause)),
      )
    sent.push(code)
  }
  expect(sent[0]).toBe('ok')
  expect(sent.at(-1)).toBe('RATE_LIMITED')
  await calm.channel('rates').send('x')

  await world.connectors.of('other')
  const overMesh = async (name: string) => {
    const { authority, path } = await world.connectors.loopback(name, 'other', '/')
    const response = await fetch(`http://${authority}${path}`)
    await response.arrayBuffer()
    return response
  }
  await world.agent('hurried', ['caller'])
  await world.agent('patient', ['caller'])
  let last = await overMesh('hurried')
  expect(last.status).toBe(200)
  for (let i = 0; i < perMinute && last.status === 200; i++) last = await overMesh('hurried')
  expect(last.status).toBe(429)
  expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0)
  expect((await overMesh('patient')).status).toBe(200)

  await busy.close()
  await calm.close()
  await world.close()
})

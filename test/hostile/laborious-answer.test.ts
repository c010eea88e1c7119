import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

const many = (count: number, one: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => one(i)).join(',')

const names = many(3_500, (i) => `"k${i.toString(36)}":1`)
const interfaces =
  '"supportedInterfaces":[{"url":"http://127.0.0.1:9/","protocolBinding":"JSONRPC"}]'
const card = `{"name":"a","capabilities":{"x":{${names}}},"skills":[],${interfaces}}`

/** Each is too large to be parsed on the event loop, and has the result of a small one. */
const answers: Readonly<Record<string, string>> = {
  'as the answer': card,
  'as a result': `{"jsonrpc":"2.0","id":1,"result":${card}}`,
  'in other notation': `// a card\n${card}`,
}

const json =
  (body: string): Answering =>
  (_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(body)

const unasked =
  (transport: Transport): Attempt =>
  async (world) => {
    for (const body of Object.values(answers)) {
      const heard = await world.echo.during(json(body), () => send(world[transport]))
      expect(refusalOf(heard)).toBe('RESPONSE_REJECTED')
    }
    const harmless = `{"skills":{${names}}}`
    const heard = await world.echo.during(json(harmless), () => send(world[transport]))
    expect(heard.status).toBe(200)
    expect(heard.body.toString()).toBe(harmless)
  }

const inEvent =
  (transport: Transport): Attempt =>
  async (world) => {
    const heard = await world.echo.during(
      streaming(['data: 1\n\n', `data: ${card}\n\n`]),
      async () => {
        const stream = await openStream(world[transport], {})
        const text = await stream.ended()
        stream.close()
        return text
      },
    )
    expect(heard).toContain('"code":"RESPONSE_REJECTED"')
    expect(heard).not.toContain('127.0.0.1:9')
  }

const asked =
  (transport: Transport): Attempt =>
  async (world) => {
    const url = new URL(world.echo.url)
    const own = card.replaceAll('http://127.0.0.1:9/', url.href)
    const get: Draft = { path: '/.well-known/agent-card.json', method: 'GET', body: null }
    const heard = await world.echo.during(json(own), () => send(world[transport], get))
    expect(heard.status).toBe(200)
    const text = heard.body.toString()
    expect(text).not.toContain(url.host)
    const read = JSON.parse(text) as Record<string, unknown>
    expect(read['signatures']).toMatchObject([{ signature: expect.any(String) as string }])
    expect(read['supportedInterfaces']).toHaveLength(1)
  }

const rpc = (method: string, params: object) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })

/**
 * Tasks that a large answer creates belong to its caller, and the tasks of others in a large list
 * do not.
 */
const tasks =
  (transport: Transport): Attempt =>
  async (world) => {
    const message = rpc('SendMessage', { message: { messageId: '1' } })
    const task = `{"id":"large","status":{"state":"x"},"metadata":{${names}}}`
    const created = `{"jsonrpc":"2.0","id":1,"result":{"task":${task}}}`
    const heard = await world.echo.during(json(created), () =>
      send(world[transport], { to: 'a2a', body: message }),
    )
    expect(heard.status).toBe(200)
    const other = await world.agent('other-caller', ['caller'])
    const read = { to: 'a2a', body: rpc('GetTask', { id: 'large' }) }
    const theft = await send(world[transport], { ...read, as: other.credential() })
    expect(refusalOf(theft)).toBe('RECEIVER_UNKNOWN')
    const listed = created.replace(`"task":${task}`, `"tasks":[${task},{"id":"foreign"}]`)
    const list = await world.echo.during(json(listed), () =>
      send(world[transport], { to: 'a2a', body: rpc('ListTasks', {}) }),
    )
    expect(list.status).toBe(200)
    const { result } = JSON.parse(list.body.toString()) as { result: { tasks: { id: string }[] } }
    expect(result.tasks.map(({ id }) => id)).toEqual(['large'])
  }

const onEach = (transport: Transport): Readonly<Record<string, Attempt>> => ({
  'a card that was not asked for': unasked(transport),
  'a card in an event': inEvent(transport),
  'the card that was asked for': asked(transport),
  'tasks that are created and listed': tasks(transport),
})

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh'],
    'an answer that costs more than it weighs is read in a thread, with the same result',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'the fabric itself answers on a channel',
  },
)

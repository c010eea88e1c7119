import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { type Attempt, attack, worldOfFile } from '../harness/attack.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

const inWorld = worldOfFile({
  receivers: ['a2a', 'echo'],
  limits: { bodyBytes: 4 * 1024 * 1024 },
})

const rpc = (method: string, params: object): Draft => ({
  to: 'a2a',
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
})

const sending = rpc('SendMessage', { message: { messageId: '1' } })
const listing = rpc('ListTasks', {})

/** `task`, `_task`, `t_ask` …: to a lax reader, each is the same name. */
const spelling = (at: number): string =>
  Array.from('task', (letter, place) => {
    const marks = Math.floor(at / 9 ** place) % 9
    return `${'_'.repeat(marks)}${letter}`
  }).join('')

const resultOf = (result: object) => ({ jsonrpc: '2.0', id: 1, result })

/**
 * An answer that claims to have created so many tasks, in records of as many as are read of one.
 */
const crowd = (count: number): object =>
  resultOf(
    Object.fromEntries(
      Array.from({ length: Math.ceil(count / 64) }, (_, at) => [
        spelling(at),
        { taskIds: Array.from({ length: Math.min(count, 64) }, () => randomUUID()) },
      ]),
    ),
  )

const page = (ids: readonly string[]): object => resultOf({ tasks: ids.map((id) => ({ id })) })

const uuids = (count: number): readonly string[] => Array.from({ length: count }, randomUUID)

const refused =
  (transport: Transport, draft: Draft, body: object, limit: string): Attempt =>
  async (world) => {
    const heard = await world.echo.during(answering(body), () => send(world[transport], draft))
    expect(refusalOf(heard)).toBe('RESPONSE_REJECTED')
    expect(heard.headers.get('countersign-limit')).toEqual([limit])
    const one = `data: ${JSON.stringify(body)}\n\n`
    const streamed = await world.echo.during(streaming([one]), async () => {
      const stream = await openStream(world[transport], draft)
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(streamed).toContain('"code":"RESPONSE_REJECTED"')
    expect(streamed).toContain(`"limit":"${limit}"`)
  }

/** The answer of an ordinary receiver of the protocols stays below the limits. */
const ordinary =
  (transport: Transport): Attempt =>
  async (world) => {
    const created = crowd(64)
    const heard = await world.echo.during(answering(created), () => send(world[transport], sending))
    expect(heard.status).toBe(200)
    const { result } = created as { result: { task: { taskIds: readonly string[] } } }
    const own = result.task.taskIds
    const listed = page([...uuids(500), ...own, ...uuids(500)])
    const list = await world.echo.during(answering(listed), () => send(world[transport], listing))
    const shown = JSON.parse(list.body.toString()) as { result: { tasks: { id: string }[] } }
    expect(shown.result.tasks.map(({ id }) => id)).toEqual(own)
    const upper = rpc('GetTask', { id: own[0]?.toUpperCase() })
    const get = await world.echo.during(answering(resultOf({})), () =>
      send(world[transport], upper),
    )
    expect(get.status).toBe(200)
    const other = await world.agent('crowd-other', ['caller'])
    const theft = await send(world[transport], { ...upper, as: other.credential() })
    expect(refusalOf(theft)).toBe('RECEIVER_UNKNOWN')
  }

const longId =
  (transport: Transport): Attempt =>
  async (world) => {
    const long = 'x'.repeat(200_000)
    const asked = await send(world[transport], rpc('GetTask', { id: long }))
    expect(refusalOf(asked)).toBe('RECEIVER_UNKNOWN')
    const listed = page([long])
    const list = await world.echo.during(answering(listed), () => send(world[transport], listing))
    expect(list.body.toString()).toContain('"tasks":[]')
    const events = [`id: ${'x'.repeat(8_000)}\ndata: {"a":1}\n\n`, 'data: {"b":2}\n\n']
    const streamed = await world.echo.during(streaming(events), async () => {
      const stream = await openStream(world[transport], sending)
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(streamed).toContain('{"b":2}')
  }

const onEach = (transport: Transport): Readonly<Record<string, Attempt>> => {
  const scenes: Readonly<Record<string, Attempt>> = {
    'tasks that an answer creates': refused(transport, sending, crowd(20_000), 'tasks.created, 64'),
    'tasks that a list names': refused(
      transport,
      listing,
      page(uuids(10_001)),
      'tasks.listed, 10000',
    ),
    'as many as in ordinary answers': ordinary(transport),
    'an id as long as a message': longId(transport),
  }
  return Object.fromEntries(
    Object.entries(scenes).map(([name, scene]) => [name, () => inWorld(scene)]),
  )
}

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh'],
    'the ids that an answer states are bounded where the event loop goes through it',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'sealed messages carry no tasks that the fabric could read',
  },
)

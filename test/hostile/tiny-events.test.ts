import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { openStream } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

/** Sends the same few bytes for as long as they are taken. */
const flooding =
  (event: string): Answering =>
  (reached, response) => {
    if (!reached.url.endsWith('/flood')) {
      response.writeHead(200, { 'content-type': 'application/json' })
      return void response.end('{}')
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const bytes = Buffer.from(event.repeat(Math.floor(65_536 / event.length)))
    const pump = (): void => {
      if (response.destroyed) return
      while (response.write(bytes));
      response.once('drain', pump)
    }
    pump()
  }

const tiny: Readonly<Record<string, string>> = {
  events: 'data:1\n\n',
  'events of an id': 'id:1\n\n',
  'delays that are not one': 'retry:x\n\n',
  comments: ':\n\n',
  'blank lines': '\n',
}

const flood =
  (transport: 'gateway' | 'mesh', event: string): Attempt =>
  async (world) => {
    await world.echo.during(flooding(event), async () => {
      const streams = await Promise.all(
        Array.from({ length: 8 }, () => openStream(world[transport], { path: '/flood' })),
      )
      try {
        await Promise.all(streams.map((stream) => stream.until(/^HTTP\/1.1 200/)))
        for (let i = 0; i < 10; i++) expect((await send(world[transport])).status).toBe(200)
      } finally {
        for (const stream of streams) stream.close()
      }
    })
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(tiny).map(([what, each]) => [what, flood(transport, each)]))

attack(
  verifies(
    ['operate:fair-streams', 'deliver:rate-of-writing'],
    'streams of tiny events leave room for others',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'the fabric itself answers on a channel',
  },
)

import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { expectOutcome } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 'x'.repeat(1024 * 1024)

const streams: Readonly<Record<string, readonly (string | Uint8Array)[]>> = {
  'of one line': ['data: {"a":1}\n\n', `data: ${mebibyte}`, mebibyte],
  'of many lines': ['data: {"a":1}\n\n', `data: x\n`.repeat(300_000)],
  'of many lines to some readers': ['data: {"a":1}\n\n', `data: ${'\u2028'.repeat(17_000)}\n\n`],
  'of many lines in JSON': ['data: {"a":1}\n\n', `data: ["${'\x85'.repeat(17_000)}"]\n\n`],
  'of an endless name': ['data: {"a":1}\n\n', `event: ${mebibyte.slice(9_000)}\ndata: x\n\n`],
  'of an endless id': ['data: {"a":1}\n\n', `id: ${'x'.repeat(9_000)}\ndata: x\n\n`],
  'in bytes that are not text': ['data: {"a":1}\n\n', Buffer.from('646174613a20ff0a0a', 'hex')],
  'of JSON that names a member twice': ['data: {"a":1}\n\n', 'data: {"b":1,"b":2}\n\n'],
}

const cut =
  (transport: 'gateway' | 'mesh', chunks: readonly (string | Uint8Array)[]): Attempt =>
  async (world) => {
    const heard = await world.echo.during(streaming(chunks, true), async () => {
      const stream = await openStream(world[transport], { to: 'masked' })
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(heard).toContain('data: {"a":1}')
    expect(heard).toContain('"code":"RESPONSE_REJECTED"')
    expect(heard.length).toBeLessThan(10_000)
    const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(heard) ?? []
    expectOutcome(await world.explain(exchange), 'RESPONSE_REJECTED')
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(streams).map(([way, each]) => [way, cut(transport, each)]))

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh', 'inspect:response'],
    'an event that cannot be inspected cuts the stream',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'a channel hands over whole messages',
  },
)

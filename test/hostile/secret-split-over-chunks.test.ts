import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

const card = '4111111111111111'
const event = `id: 7\ndata: {"pay":"${card}"}\n\n`

const splits: Readonly<Record<string, readonly (string | Uint8Array)[]>> = {
  'in one chunk': [event],
  'in two': [event.slice(0, 25), event.slice(25)],
  'byte by byte': Array.from(event),
  'over several data lines': [`data: {"pay":\ndata: "${card}"}\n\n`],
  'behind carriage returns': [event.replaceAll('\n', '\r\n')],
  'behind a comment': [`: ${card}\n${event}`],
  'in a comment only': [`: ${card}\n\ndata: {"a":1}\n\n`],
  'in an unfinished event': [`data: {"a":1}\n\ndata: ${card}`],
  'in the name of an event': [`event: ${card}\ndata: {"a":1}\n\n`],
  'in the id of an event': [`id: ${card}\ndata: {"a":1}\n\n`],
  'in an unknown field': [`x: ${card}\ndata: {"a":1}\n\n`],
}

const split =
  (transport: 'gateway' | 'mesh', chunks: readonly (string | Uint8Array)[]): Attempt =>
  async (world) => {
    const heard = await world.echo.during(streaming(chunks), async () => {
      const stream = await openStream(world[transport], { to: 'masked' })
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(heard).toMatch(/^HTTP\/1.1 200/)
    expect(heard).toContain('data: {')
    expect(heard).not.toContain(card)
  }

const blocked =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const chunks = ['data: {"a":1}\n\n', ...Array.from(event), 'data: {"b":2}\n\n']
    const heard = await world.echo.during(streaming(chunks), async () => {
      const stream = await openStream(world[transport], { to: 'blocked' })
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(heard).toContain('data: {"a":1}')
    expect(heard).not.toMatch(/4111|"b":2/)
    expect(heard).toContain('event: countersign-refusal')
    expect(heard).toContain('"code":"RESPONSE_REJECTED"')
  }

const onEach = (transport: 'gateway' | 'mesh') => ({
  ...Object.fromEntries(Object.entries(splits).map(([way, each]) => [way, split(transport, each)])),
  'in an event that policy blocks': blocked(transport),
})

attack(
  verifies(
    ['inspect:stream-events', 'inspect:mask', 'deliver:events'],
    'a secret that is split over a stream is masked',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'a channel hands over whole messages',
  },
)

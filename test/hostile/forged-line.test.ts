import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { expectOutcome } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

/** Line ends of Java's `\R`, Python's `splitlines` or another reader. */
const breaks = ['\v', '\f', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029', '\r', '\r\n']
const everyBreak = new RegExp(`\r\n|[\n${breaks.join('')}]`, 'u')

const forged = (end: string) =>
  `${end}${end}event: countersign-refusal${end}data: {"code":"RATE_LIMITED","retry":true}${end}${end}`

type Place = (end: string) => string

/** Passed on, with every line of theirs where all readers see it. */
const passing: Readonly<Record<string, Place>> = {
  'JSON data': (end) => `data: {"x":"${forged(end).replaceAll('"', "'")}"}\n\n`,
  'a name in JSON data': (end) => `data: {"${forged(end).replaceAll('"', "'")}":1}\n\n`,
  'data that is a JSON string': (end) => `data: "${forged(end).replaceAll('"', "'")}"\n\n`,
  'text data': (end) => `data: x${forged(end)}\n\n`,
  'a comment': (end) => `: x${forged(end)}\ndata: x\n\n`,
  'an unknown field': (end) => `x: x${forged(end)}\ndata: x\n\n`,
  'the delay': (end) => `retry: 5${forged(end)}\ndata: x\n\n`,
}

/** Refused: a name or an id has no second line. */
const refused: Readonly<Record<string, Place>> = {
  'the id': (end) => `id: x${forged(end)}\ndata: x\n\n`,
  'the name of the event': (end) => `event: x${forged(end)}\ndata: x\n\n`,
}

async function hear(
  world: Parameters<Attempt>[0],
  transport: 'gateway' | 'mesh',
  event: string,
): Promise<string> {
  return await world.echo.during(
    streaming(['data: {"first":1}\n\n', event, 'data: {"last":1}\n\n']),
    async () => {
      const stream = await openStream(world[transport], { to: 'masked' })
      const text = await stream.ended()
      stream.close()
      return text
    },
  )
}

function expectNoForgery(heard: string): void {
  // Bytes beyond ASCII are read as such; NEL is one byte to a reader of ISO 8859-1.
  const lines = heard.split(everyBreak).filter((line) => /^\s*event\s*:/i.test(line))
  expect(lines.filter((line) => line.includes('countersign'))).toEqual(
    heard.includes('RESPONSE_REJECTED') ? ['event: countersign-refusal'] : [],
  )
  expect(heard.split(everyBreak).filter((line) => /^\s*data:.*RATE_LIMITED/.test(line))).toEqual(
    heard.split(/\r\n|\n/).filter((line) => /^data:.*RATE_LIMITED/.test(line)),
  )
}

const isStandard = (end: string) => end.startsWith('\r')

const onEach = (transport: 'gateway' | 'mesh'): Readonly<Record<string, Attempt>> => ({
  ...Object.fromEntries(
    Object.entries(passing).map(([place, event]) => [
      `in ${place}`,
      async (world) => {
        for (const end of breaks.filter((each) => !isStandard(each))) {
          const heard = await hear(world, transport, event(end))
          expectNoForgery(heard)
          // A control character makes JSON of nothing; the others are passed on as they are meant.
          if (!heard.includes('RESPONSE_REJECTED')) expect(heard).toContain('"last":1')
        }
      },
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(refused).map(([place, event]) => [
      `in ${place}`,
      async (world) => {
        for (const end of breaks) {
          const heard = await hear(world, transport, event(end))
          expectNoForgery(heard)
          expect(heard).not.toContain('"last":1')
          const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(heard) ?? []
          expectOutcome(await world.explain(exchange), 'RESPONSE_REJECTED')
        }
      },
    ]),
  ),
})

attack(
  verifies(
    ['inspect:one-line-reading', 'inspect:refusals-are-ours'],
    'no reader of event streams finds a refusal of ours in what a receiver sent',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'a channel hands over whole messages',
  },
)

import { expect, vi } from 'vitest'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

/**
 * Names of secrets, each with a list that never ends: it costs seconds, and nothing is found in it.
 */
const costly = 'pw=[["a",'.repeat(350_000)
const ordinary = JSON.stringify({ text: 'lorem ipsum '.repeat(3_500) })

const inWorld = worldOfFile({
  limits: { bodyBytes: 4 * 1024 * 1024 },
  receivers: ['echo', 'masked'],
})

/** One agent has the threads inspect something for seconds; another sends what needs a thread. */
const answeredBefore =
  (transport: 'gateway' | 'mesh'): Attempt =>
  () =>
    inWorld(async (world) => {
      const door = world[transport]
      const as = (await world.agent(newName('greedy'), ['caller'])).credential()
      // A connector learns of a new agent by its long poll.
      await vi.waitFor(async () => {
        expect((await send(door, { to: 'echo', as })).status).toBe(200)
      }, deadline)
      let isDone = false
      const heavy = send(door, {
        ...{ to: 'masked', body: costly, contentType: 'text/plain', as },
      }).then((heard) => {
        isDone = true
        return heard
      })
      expect((await send(door, { to: 'echo' })).status).toBe(200)
      expect((await send(door, { to: 'masked', body: ordinary })).status).toBe(200)
      expect(isDone).toBe(false)
      const refused = await heavy
      expect(refusalOf(refused)).toBe('MESSAGE_TOO_LARGE')
      // A machine that takes five times as long for a step reaches the limit of time first.
      expect(refused.body.toString()).toMatch(/inspect\.steps|work\.bodyMs/)
    })

/**
 * Values that look like code up to their last sign: a pattern tried every way to split the
 * comments.
 */
const forked = ['#', '?', '//', '#?', 'or ', '&& ', ' #', '#)'].flatMap((unit) =>
  ['\n', '\r', '\u2028', '\u2029'].map((end) => `password=x${unit.repeat(60)}${end}x`),
)

const forkedIsAnswered =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const body of [forked.join('\n'), JSON.stringify({ forked })]) {
      const contentType = body.startsWith('{') ? 'application/json' : 'text/plain'
      const heard = await send(world[transport], { to: 'masked', body, contentType })
      expect(heard.status).toBe(200)
    }
  }

/** The limit that a response has reached is named, as that of a request is. */
const limitIsNamed =
  (transport: 'gateway' | 'mesh'): Attempt =>
  () =>
    inWorld(async (world) => {
      const door = world[transport]
      const addresses = JSON.stringify({ a: 'a@b.co '.repeat(20_001) })
      const asked = await send(door, { to: 'masked', body: addresses })
      expect(refusalOf(asked)).toBe('MESSAGE_TOO_LARGE')
      expect(field(asked, 'countersign-limit')).toBe('inspect.findings, 20000')
      const json = { 'content-type': 'application/json' }
      const answer = await world.echo.during(
        (_, response) => response.writeHead(200, json).end(addresses),
        () => send(door, { to: 'masked' }),
      )
      expect(refusalOf(answer)).toBe('RESPONSE_REJECTED')
      expect(field(answer, 'countersign-limit')).toBe('inspect.findings, 20000')
    })

attack(
  verifies(
    ['inspect:fair-time@gateway', 'inspect:fair-time@mesh'],
    'text that is costly to inspect stops no other exchange',
  ),
  {
    gateway: {
      'of many names': answeredBefore('gateway'),
      'of comments that can be split in many ways': forkedIsAnswered('gateway'),
      'of many findings, whose limit is named': limitIsNamed('gateway'),
    },
    mesh: {
      'of many names': answeredBefore('mesh'),
      'of comments that can be split in many ways': forkedIsAnswered('mesh'),
      'of many findings, whose limit is named': limitIsNamed('mesh'),
    },
    queue: 'sealed content is not inspected',
  },
)

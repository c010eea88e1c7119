import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const bodyBytes = 4 * 1024 * 1024
const many = (count: number, one: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => one(i)).join(',')

/**
 * Each is a few megabytes that cost an engine seconds, or would be built into a million objects.
 */
const laborious: Readonly<Record<string, () => string>> = {
  'of names': () => `{${many(250_000, (i) => `"${i.toString(36)}":1`)}}`,
  'of names that look like indexes': () => `{${many(210_000, (i) => `"${4_294_967_294 - i}":1`)}}`,
  'of values': () => `[${many(600_000, () => '1')}]`,
  'of empty objects': () => `[${many(600_000, () => '{}')}]`,
  'of arrays inside one another': () =>
    `[${many(10_000, () => `${'['.repeat(60)}${']'.repeat(60)}`)}]`,
  'of digits': () => `[${'1'.repeat(1_000_000)}]`,
  'of digits behind a point': () => `[0.${'1'.repeat(1_000_000)}]`,
}

/**
 * Refused by their counts, before an engine builds anything. One world for all of them: opening one
 * takes longest.
 */
const refusedByCount =
  (transport: 'gateway' | 'mesh'): Attempt =>
  () =>
    inOwnWorld({ limits: { bodyBytes }, receivers: ['echo'] }, async (world) => {
      for (const [name, text] of Object.entries(laborious)) {
        const heard = await send(world[transport], { body: text() })
        expect(refusalOf(heard), name).toBe('MESSAGE_TOO_LARGE')
        expect(heard.body.toString(), name).toContain('json.')
      }
    })

/** Within the bounds: parsed and inspected in a thread, and delivered with the same masks. */
const large: Draft = {
  body: JSON.stringify({ filler: '1-'.repeat(100_000), card: '4111 1111 1111 1111' }),
}

const answeredMeanwhile: Attempt = () =>
  inOwnWorld({ limits: { bodyBytes }, receivers: ['echo', 'masked'] }, async (world) => {
    let areDone = false
    const heavy = Promise.all(
      Array.from({ length: 6 }, () => send(world.gateway, { ...large, to: 'masked' })),
    ).then((all) => {
      areDone = true
      return all
    })
    // Answered while the large ones are worked on, and not after them.
    expect((await send(world.gateway)).status).toBe(200)
    expect(areDone).toBe(false)
    for (const { status } of await heavy) expect(status).toBe(200)
    const text = Buffer.from(world.echo.reached.at(-1)?.body ?? '').toString()
    expect(text).not.toContain('4111 1111')
  })

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh'],
    'a body that costs more than it weighs stops neither others nor itself for long',
  ),
  {
    gateway: {
      'refused by their counts': refusedByCount('gateway'),
      'and others are answered meanwhile': answeredMeanwhile,
    },
    mesh: refusedByCount('mesh'),
    queue: 'tested by oversized messages of its own format',
  },
)

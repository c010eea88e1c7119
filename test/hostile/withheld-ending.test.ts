import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { sendInTurn } from '../harness/doors.ts'
import { indexesOf, meshEntry, record } from '../harness/entries.ts'
import { batchBody } from '../harness/stated-batches.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/**
 * Another agent closes the exchanges again and again, in batches that take long to check. It needs
 * their ids only, which the public log shows.
 */
async function closing(
  world: World,
  exchanges: readonly ReturnType<typeof meshEntry>['exchange'][],
  during: () => Promise<void>,
): Promise<void> {
  const mallory = await world.agent('mallory', ['caller'])
  const own = exchanges.map((exchange) => meshEntry({ kind: 'outcome', exchange }))
  const padding = Array.from({ length: 180 }, () => meshEntry({ kind: 'outcome' }))
  const draft = () => ({ path: '/v1/mesh/entries', body: batchBody(mallory, [...own, ...padding]) })
  let isOver = false
  const heard: number[] = []
  const first = Promise.withResolvers<void>()
  const closeAgain = async () => {
    while (!isOver) {
      const answers = await sendInTurn(world.control, mallory.credential(), [draft()])
      heard.push(...answers.map(({ status }) => status))
      first.resolve()
    }
  }
  const attackers = Array.from({ length: 4 }, closeAgain)
  try {
    await Promise.race([first.promise, Promise.all(attackers)])
    await during()
  } finally {
    isOver = true
    await Promise.all(attackers)
  }
  expect(heard).not.toContain(200)
}

attack(verifies(['record:append-only'], 'no connector keeps another’s ending off the record'), {
  gateway: 'the fabric closes its own exchanges',
  mesh: async (world) => {
    await world.agent('thief', ['caller'])
    const begun = Array.from({ length: 10 }, () => meshEntry())
    expect((await record(world, begun)).status).toBe(200)
    const exchanges = begun.map(({ exchange }) => exchange)
    await closing(world, exchanges, async () => {
      for (const exchange of exchanges) {
        const [index] = await indexesOf(world, [meshEntry({ kind: 'outcome', exchange })])
        expect(index).toEqual(expect.any(Number))
      }
    })
    for (const exchange of exchanges) {
      expect((await world.explain(exchange)).map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
    }
  },
  queue: 'the fabric closes its own exchanges',
})

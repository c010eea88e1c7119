import { AgentError, type Reply } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type LossyAgent, openLossyAgent } from '../harness/lossy-proxy.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

let agents = 0

const lossy =
  (scene: (world: World, lossy: LossyAgent) => Promise<void>): Attempt =>
  async (world) => {
    const opened = await openLossyAgent(world, `lossy-${agents++}`)
    try {
      await scene(world, opened)
    } finally {
      await opened.close()
    }
  }

async function expectUnknown(asking: Promise<unknown>): Promise<void> {
  const error: unknown = await asking.then(
    () => null,
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(AgentError)
  expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', mayHaveActed: true, retry: false })
}

/** Read to its end, so that the connection is free for the next call. */
async function text(calling: Promise<Reply>): Promise<string> {
  return (await calling).text()
}

/** The receiver acts, and the network loses the response at that moment. */
const payment = (isReused: boolean): Attempt =>
  lossy(async (world, { agent, cut }) => {
    if (isReused) expect(await text(agent.call('echo', { body: 'first' }))).toBe('first')
    const body = `pay-${agents}`
    await world.echo.during(
      () => cut(),
      () => expectUnknown(agent.call('echo', { body })),
    )
    const paid = world.echo.reached.filter((each) => each.body.toString() === body)
    expect(paid).toHaveLength(1)
  })

attack(
  verifies(
    ['deliver:unknown-outcome', 'deliver:no-silent-repeat@gateway', 'queue:idempotent'],
    'a lost response is not reported as a message that was never delivered',
  ),
  {
    gateway: {
      'on a new connection': payment(false),
      'on a connection that was used before': payment(true),
      'a reading is asked for again on a connection that was used before': lossy(
        async (_, { agent, loseNext }) => {
          expect(await text(agent.call('echo'))).toBe('{}')
          loseNext()
          expect(await text(agent.call('echo'))).toBe('{}')
        },
      ),
    },
    mesh: 'tested by receiver-that-breaks-off',
    queue: {
      'of a message, which is stored once': lossy(async (world, { agent, loseNext }) => {
        const name = `lossy-hall-${agents}`
        await world.admin('channel.create', { name, members: [agent.name] })
        const channel = agent.channel(name)
        await channel.send('first')
        loseNext()
        const sent = await channel.send('second')
        expect(sent).toMatchObject({ state: 'duplicate' })
        // Messages of a lost lease come again, automatically.
        const received = await channel.receive({ group: 'workers', waitMs: 0 })
        const bodies = received.map(({ body }) => new TextDecoder().decode(body))
        expect(bodies).toEqual(['first', 'second'])
      }),
    },
  },
)

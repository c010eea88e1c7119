import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { openPolls, type PollAnswer, sequenceOf, untilNews } from '../harness/state-polls.ts'
import { verifies } from '../requirements.ts'

const polls = 300
const share = 128

const isOfNewcomer = ({ text }: PollAnswer): boolean => text.includes('newcomer')

/** On as many connections as it takes: a connection carries a hundred streams. */
const manyPolls: Attempt = () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const greedy = await world.agent('greedy')
    const other = openPolls(world, world.caller)
    const sessions = Array.from({ length: polls / 100 }, () => openPolls(world, greedy))
    try {
      const [first] = sessions
      const sequence = sequenceOf(
        (await first?.ask(-1)) ?? { status: 0, refusal: '', limit: '', text: '{}' },
      )
      const answers: PollAnswer[] = []
      const all = sessions.flatMap(({ ask }) =>
        Array.from(
          { length: 100 },
          async () => void answers.push(await untilNews(ask, sequence, isOfNewcomer)),
        ),
      )
      await expect.poll(() => answers.length).toBe(polls - share)
      for (const { status, refusal, limit } of answers) {
        expect([status, refusal, limit]).toEqual([503, 'OVERLOADED', 'mesh.stateReaders, 128'])
      }
      // Others wait in their own share, and every reader learns of the next change.
      const waiting = untilNews(other.ask, sequence, isOfNewcomer)
      await world.agent('newcomer')
      expect((await waiting).text).toContain('newcomer')
      await Promise.all(all)
      const whole = answers.filter(({ status }) => status === 200)
      expect(whole).toHaveLength(share)
      for (const { text } of whole) expect(text).toContain('newcomer')
    } finally {
      for (const { end } of [...sessions, other]) end()
    }
  })

attack(
  verifies(
    ['operate:waiting-share'],
    'a client that opens polls without end takes the place of no other, and each change reaches all',
  ),
  {
    gateway: manyPolls,
    mesh: 'connectors are asked for no state',
    queue: 'leases that wait have limits of their own',
  },
)

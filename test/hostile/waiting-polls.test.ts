import { connect as connectHttp2 } from 'node:http2'
import { expect } from 'vitest'
import { inOwnWorld, lie, type Telling } from '../harness/lie.ts'
import { pemOf } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const polls = 300
const share = 128

interface Answer {
  readonly status: number
  readonly refusal: string
  readonly limit: string
  readonly text: string
}

function session(world: World, who: World['caller']) {
  const { port } = new URL(world.fabric.origin)
  const options = { ...pemOf(who.credential()), port: Number(port), rejectUnauthorized: false }
  const opened = connectHttp2(world.fabric.origin, options)
  opened.on('error', () => undefined)
  const ask = (after: number): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const stream = opened.request({ ':path': `/v1/mesh/state?after=${after}` })
      let head: Omit<Answer, 'text'> = { status: 0, refusal: '', limit: '' }
      let text = ''
      stream.on('response', (fields) => {
        const [refusal, limit] = [fields['countersign-refusal'], fields['countersign-limit']]
        const status = Number(fields[':status'])
        head = { status, refusal: String(refusal ?? ''), limit: String(limit ?? '') }
      })
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      stream.once('error', reject)
      stream.once('close', () => resolve({ ...head, text }))
    })
  return { ask, end: () => opened.destroy() }
}

const sequenceOf = ({ text }: Answer): number => (JSON.parse(text) as { sequence: number }).sequence

/** A poll ends by itself after a while, and with changes that a slow machine still works off. */
async function untilNews(ask: (after: number) => Promise<Answer>, from: number): Promise<Answer> {
  for (let after = from; ; ) {
    const answer = await ask(after)
    if (answer.status !== 200 || answer.text.includes('newcomer')) return answer
    after = sequenceOf(answer)
  }
}

/** On as many connections as it takes: a connection carries a hundred streams. */
const manyPolls: Telling = () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const greedy = await world.agent('greedy')
    const other = session(world, world.caller)
    const sessions = Array.from({ length: polls / 100 }, () => session(world, greedy))
    try {
      const [first] = sessions
      const sequence = sequenceOf(
        (await first?.ask(-1)) ?? { status: 0, refusal: '', limit: '', text: '{}' },
      )
      const answers: Answer[] = []
      const all = sessions.flatMap(({ ask }) =>
        Array.from({ length: 100 }, async () => void answers.push(await untilNews(ask, sequence))),
      )
      await expect.poll(() => answers.length).toBe(polls - share)
      for (const { status, refusal, limit } of answers) {
        expect([status, refusal, limit]).toEqual([503, 'OVERLOADED', 'mesh.stateReaders, 128'])
      }
      // Others wait in their own share, and everyone hears of the next change.
      const waiting = untilNews(other.ask, sequence)
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

lie(
  verifies(
    ['operate:waiting-share'],
    'who opens polls without end takes no one else’s place, and each change is told to all',
  ),
  {
    gateway: manyPolls,
    mesh: 'connectors are asked for no state',
    queue: 'leases that wait have limits of their own',
  },
)

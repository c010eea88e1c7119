import { describe, expect, test } from 'vitest'
import { caller, PipelineWorld, unchecked } from '../../../../test/harness/pipeline.ts'
import { agentKey } from '../../../../test/harness/principals.ts'
import type { Authentication, Authenticator } from '../identity/caller.ts'
import { Refusal } from '../lib/refusal.ts'
import { authenticate, identify } from './authenticate.ts'

const head = {
  transport: 'gateway',
  presented: { certificateChain: [], bearer: null, apiKey: null },
} as const

const scoped = { ...caller, scopes: ['billing'] }
const other = { ...caller, principal: agentKey('other'), name: 'other' }
const refused = new Refusal('CREDENTIAL_REJECTED', 'no such key')

/** Authenticators with these answers, which note in `asked` that they were asked. */
function answering(answers: readonly Authentication[], { waits }: { waits: readonly boolean[] }) {
  const asked: number[] = []
  const authenticators = answers.map(
    (answer, i): Authenticator =>
      () => {
        asked.push(i)
        return waits[i] === true ? Promise.resolve(answer) : answer
      },
  )
  return { asked, authenticators }
}

const waiting = [
  { waits: [false, false, false] },
  { waits: [true, false, false] },
  { waits: [false, true, false] },
  { waits: [true, true, true] },
]

describe.each(waiting)('authenticators that wait: $waits', ({ waits }) => {
  test('are asked in order and once', async () => {
    const { asked, authenticators } = answering([null, caller, scoped], { waits })
    expect(await identify(head, { authenticators })).toMatchObject({ caller: scoped })
    expect(asked).toEqual([0, 1, 2])
  })

  test('are not asked after one that refuses', async () => {
    const { asked, authenticators } = answering([null, refused, caller], { waits })
    expect(await identify(head, { authenticators })).toBe(refused)
    expect(asked).toEqual([0, 1])
  })

  test('name one principal together [authenticate:conflicting]', async () => {
    const { authenticators } = answering([caller, null, other], { waits })
    expect(await identify(head, { authenticators })).toMatchObject({
      code: 'CREDENTIALS_CONFLICTING',
    })
  })

  test('are asked again with the message', async () => {
    const { authenticators } = answering([caller], { waits })
    const identified = await identify(head, { authenticators })
    if (identified instanceof Refusal) throw new Error(identified.code)
    const revoked = answering([refused], { waits })
    const deps = { ...new PipelineWorld().deps(), authenticators: revoked.authenticators }
    expect(await authenticate(identified, unchecked, deps)).toBe(refused)
    expect(revoked.asked).toEqual([0])
  })
})

const broken: readonly Authenticator[] = [
  () => {
    throw new Error('unreachable')
  },
  () => Promise.reject(new Error('unreachable')),
  // The one after it fails in the turn in which its answer comes.
  () => Promise.resolve(null),
]

test.each([0, 1, 2])('an authenticator that fails (%i) leaves it undecided', async (i) => {
  const authenticators = broken.slice(i, i + 1).concat(broken.slice(0, 1))
  expect(await identify(head, { authenticators })).toMatchObject({ code: 'UNDECIDED' })

  const identified = await identify(head, { authenticators: [() => caller] })
  if (identified instanceof Refusal) throw new Error(identified.code)
  const deps = { ...new PipelineWorld().deps(), authenticators }
  expect(await authenticate(identified, unchecked, deps)).toMatchObject({ code: 'UNDECIDED' })
})

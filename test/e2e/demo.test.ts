import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEMO_STEPS, isRunning, openDemo, type Ran, type Step } from '../harness/demo.ts'

const demo = openDemo()
afterAll(() => demo.close())

describe('the demo', () => {
  let ran: Ran
  const stepOf = (name: string): Step => {
    const found = ran.steps.find(({ step }) => step === name)
    if (found === undefined) throw new Error(`there is no step ${name}`)
    return found
  }

  beforeAll(async () => {
    ran = await demo.run('--json')
  })

  test('is one JSON line a step, and every check of every step holds', () => {
    expect(ran.steps.map(({ step }) => step)).toEqual(['setup', ...DEMO_STEPS, 'summary'])
    const failed = ran.steps.flatMap(({ step, checks = [] }) =>
      checks.filter(({ ok }) => !ok).map(({ says }) => `${step}: ${says}`),
    )
    expect(failed).toEqual([])
    expect(ran.steps.filter(({ ok }) => !ok)).toEqual([])
    const held = { steps: DEMO_STEPS.length, held: DEMO_STEPS.length }
    expect(stepOf('summary')).toMatchObject(held)
  })

  test('masks personal data on its way to the receiver [inspect:mask@gateway]', () => {
    const { sent, heard, masked } = stepOf('gateway')
    for (const value of ['4111 1111 1111 1111', 'anna.berg@example.com', '+44 20 7946 0958']) {
      expect(sent).toContain(value)
      expect(heard).not.toContain(value)
    }
    expect(heard).toMatch(/^Invoice 2107: refund to card \[CARD/)
    expect(masked).toBe('card:1 iban:1 email:1 phone:1')
  })

  test('has receipts signed by both ends [countersign:request] [countersign:response]', () => {
    for (const name of ['gateway', 'mesh']) {
      expect(stepOf(name)).toMatchObject({ requestBy: 'caller', responseBy: 'callee' })
    }
  })

  test('verifies a receipt offline for every exchange it made [receipt:offline]', () => {
    for (const name of ['gateway', 'mesh', 'queue', 'quarantine']) {
      const { checks = [], exchange } = stepOf(name)
      expect(exchange).toMatch(/^exc_a_[0-9a-f]{32}$/)
      const says = checks.filter(({ ok }) => ok).map((check) => check.says)
      expect(says.some((each) => each.endsWith('verified offline against the pinned keys'))).toBe(
        true,
      )
      expect(says.some((each) => each.endsWith('with one bit flipped it fails'))).toBe(true)
    }
  })

  test('calls over the mesh without a credential in the agent', () => {
    const { credentials, answer, url } = stepOf('mesh')
    expect(credentials).toEqual([])
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/demo-records\/mcp$/)
    expect(answer).toMatch(/^Berg Logistics: /)
  })

  test('explains the denial by what would have to be true [authorize:default-deny@mesh] [record:explain]', () => {
    const { refusal, why } = stepOf('denied')
    expect(refusal).toBe('NOT_PERMITTED')
    expect(why).toContainEqual(expect.stringContaining('context.tool == "find_record"'))
    expect(why).toContainEqual(expect.stringContaining('would have to be true'))
  })

  test('leaves no plaintext with the fabric [queue:ciphertext-only]', () => {
    const { plaintextFound, storedBytes, sender } = stepOf('queue')
    expect(plaintextFound).toBe(false)
    expect(storedBytes).toBeGreaterThan(0)
    expect(sender).toBe('demo-support')
  })

  test('has the acknowledgement countersigned [queue:acknowledgement-countersigned]', () => {
    const { checks = [] } = stepOf('queue')
    expect(checks).toContainEqual({ says: 'billing countersigned the acknowledgement', ok: true })
  })

  test('cuts the stream of a quarantined agent and reports it [revoke:live@gateway]', () => {
    const { cutMs, refusal, result } = stepOf('quarantine')
    expect(cutMs).toBeGreaterThan(0)
    expect(refusal).toBe('WITHDRAWN')
    expect(result).toBe('cut')
  })

  test('ends every process that it started', () => {
    const pids = Object.values(stepOf('setup').processes ?? {})
    expect(pids).toHaveLength(3)
    expect(pids.filter(isRunning)).toEqual([])
  })
})

import type { ExchangePage } from '@countersign/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clientOf } from '../../packages/fabric/src/cli/fabric-client.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { openWorld, type World } from '../harness/world.ts'

let world: World

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
})
afterAll(() => world.close())

const reading = ['ledger.read', 'ledger.recent', 'ledger.find', 'decisions.watch']

async function ask(operation: string, args: object, as: World['caller']) {
  const body = JSON.stringify({ operation, args })
  return send(world.control, { path: '/v1/admin', body, as: as.credential() })
}

const find = async (args: object): Promise<ExchangePage['exchanges']> =>
  ((await world.admin('ledger.find', args)) as ExchangePage).exchanges

/** Reports whether the operator may follow the ledger now. */
async function followOnce(): Promise<boolean> {
  const stop = new AbortController()
  const client = clientOf(world.operator, world.fabric.origin, null)
  const watching = client.watch(stop.signal)
  const next = watching.next().then(
    () => true,
    () => false,
  )
  await send(world.gateway, { to: 'echo' })
  const isFollowed = await next
  stop.abort()
  await watching.return(undefined)
  return isFollowed
}

describe('the ledger', () => {
  test('is not read by an agent, which leaves a record of each attempt', async () => {
    for (const operation of reading) {
      const heard = await ask(operation, {}, world.caller)
      expect(refusalOf(heard), operation).toBe('NOT_PERMITTED')
      const found = await find({ operation, code: 'NOT_PERMITTED', caller: world.caller.name })
      expect(found.map(({ exchange }) => exchange)).toContain(exchangeOf(heard))
    }
  })

  test('is read by a reader as far as policy permits, operation by operation', async () => {
    const reader = await world.agent('ledger-reader')
    const text = `@id("finds") permit (principal == Agent::"ledger-reader", action == Action::"read",
      resource) when { context.operation == "ledger.find" };`
    await world.admin('policy.put', { name: 'reader.cedar', text })
    for (const operation of reading) {
      const heard = await ask(operation, {}, reader)
      const expected = operation === 'ledger.find' ? null : 'NOT_PERMITTED'
      expect(refusalOf(heard), operation).toBe(expected)
    }
  })

  test('gives one line for a call, with its end and the time that it took', async () => {
    const heard = await send(world.gateway, { to: 'echo' })
    const [line, ...others] = await find({ caller: 'caller', receiver: 'echo', countMax: 1 })
    expect(others).toEqual([])
    expect(line).toMatchObject({
      exchange: exchangeOf(heard),
      ...{ kind: 'outcome', caller: 'caller', ended: { result: 'delivered', code: null } },
    })
    expect(line?.durationMs).toBeGreaterThanOrEqual(0)
    expect(Object.keys(line?.facts ?? {}).filter((name) => name.startsWith('private.'))).toEqual([])
    expect(line?.facts['request.digest']).toBeUndefined()
  })

  test('refuses the cursor of another log, one beyond its end, and two at once', async () => {
    const { newer } = (await world.admin('ledger.recent', {})) as ExchangePage
    const [slot = '', key = '', index = ''] = newer.split('.')
    const other = key === '00000000' ? '11111111' : '00000000'
    const cursors = [`b.${key}.${index}`, `${slot}.${other}.1`, `${slot}.${key}.999999`, 'x', '']
    for (const operation of ['ledger.read', 'ledger.recent', 'ledger.find', 'decisions.watch']) {
      for (const after of cursors) {
        const heard = await ask(operation, { after }, world.operator)
        expect(refusalOf(heard), `${operation} ${after}`).toBe('CURSOR_UNKNOWN')
      }
    }
    const both = await ask('ledger.find', { after: newer, before: newer }, world.operator)
    expect(refusalOf(both)).toBe('MESSAGE_MALFORMED')
  })

  test('holds a flood of followers to the share of one reader, and gives places back', async () => {
    const client = clientOf(world.operator, world.fabric.origin, null)
    const stop = new AbortController()
    let seen = 0
    const follow = async (): Promise<string> => {
      try {
        for await (const _ of client.watch(stop.signal)) seen += 1
        return 'followed'
      } catch (error) {
        return String(error)
      }
    }
    const followers = Array.from({ length: 33 }, follow)
    // The one beyond the share ends at once; the others go on.
    expect(await Promise.race(followers)).toContain('RATE_LIMITED')
    await expect.poll(() => seen).toBeGreaterThan(32)
    stop.abort()
    const ends = await Promise.all(followers)
    expect(ends.filter((end) => end === 'followed')).toHaveLength(32)
    // The places are free again once the connections have ended.
    await expect.poll(followOnce).toBe(true)
  })

  test('records the reads of a minute in one entry, not one by one', async () => {
    const recorded = async () =>
      (await world.recorded()).filter(({ facts }) => facts['operation'] === 'ledger.find').length
    const before = await recorded()
    for (let n = 0; n < 30; n++) await world.admin('ledger.find', { caller: 'caller', countMax: 1 })
    expect((await recorded()) - before).toBeLessThanOrEqual(2)
  })
})

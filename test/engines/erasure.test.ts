import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type ErasureView,
  type ExchangePage,
  type SubjectView,
  verifyReceipt,
} from '@countersign/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fetchReceipt } from '../../packages/sdk/src/call/receipt.ts'
import { send } from '../harness/doors.ts'
import { RECEIVERS } from '../harness/policies.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { openReplicas, type Replica, type Replicas, untilServed } from '../harness/replicas.ts'
import { verifies } from '../requirements.ts'

let replicas: Replicas

beforeAll(async () => {
  replicas = await openReplicas({ folders: ['data', 'data'] })
  await untilServed(replicas)
})
afterAll(() => replicas.close())

const find = async (at: Replica, args: object): Promise<readonly string[]> =>
  ((await at.admin('ledger.find', args)) as ExchangePage).exchanges.map(({ exchange }) => exchange)

const subjectAt = async (at: Replica, subject: string): Promise<SubjectView> =>
  (await at.admin('ledger.subject', { subject })) as SubjectView

async function call(at: Replica, who: { credential(): unknown }): Promise<string> {
  const heard = await send(at.door, { to: 'echo', as: who.credential() as never })
  expect(heard.status).toBe(200)
  return exchangeOf(heard)
}

/** The generation of the key of detection's file, which each erasure replaces. */
const generationOf = (slot: string): number =>
  readFileSync(join(replicas.dir, `data/consumers/detection-${slot}.state`)).readUInt32BE(1)

const resultsOf = async (at: Replica, exchange: string) => {
  const { entries } = (await at.admin('policy.explain', { exchange })) as {
    readonly entries: readonly { readonly facts: Readonly<Record<string, unknown>> }[]
  }
  return entries.map(({ facts }) => facts['erased'] === true)
}

test(
  verifies(['record:erasable'], 'each slot erases a principal, also one that was away'),
  async () => {
    const { one, two, caller } = replicas
    const gone = await replicas.enrol(one, 'leaver', ['caller'])
    const [first, second] = [await call(one, gone), await call(two, gone)]
    const kept = [await call(one, caller), await call(two, caller)]
    const receipt = await fetchReceipt(gone, first)
    await expect(one.admin('ledger.erase', { subject: 'leaver' })).rejects.toThrow('NOT_PERMITTED')
    expect(await resultsOf(one, first)).toEqual([false, false])
    await one.admin('agent.revoke', { name: 'leaver', reason: 'left the company' })
    const before = await subjectAt(one, 'leaver')
    expect(before).toMatchObject({ slot: 'a', status: 'revoked', slots: ['a', 'b'] })
    expect(before.entries).toBeGreaterThan(3)
    await two.stop()
    const copy = join(replicas.dir, 'copy-of-b')
    cpSync(join(replicas.dir, 'data/ledger/b'), copy, { recursive: true })
    const erased = (await one.admin('ledger.erase', { subject: 'leaver' })) as ErasureView
    expect(erased).toMatchObject({ slot: 'a', entries: before.entries, pending: ['b'] })
    expect(erased.keysBefore).not.toBeNull()
    expect(await resultsOf(one, first)).toEqual([true, true])
    expect([generationOf('a'), generationOf('b')]).toEqual([2, 1])
    await two.start()
    expect(generationOf('b')).toBe(2)
    // Before it serves: the first request already finds nothing.
    expect(await resultsOf(two, second)).toEqual([true, true])
    for (const at of [one, two]) {
      expect(await find(at, { caller: 'leaver' })).toEqual([])
      expect((await subjectAt(at, 'leaver')).entries).toBe(0)
      const own = kept[at === one ? 0 : 1] ?? ''
      expect(await resultsOf(at, own)).toEqual([false, false])
      await at.admin('ledger.check', {})
      const { exchanges } = (await at.admin('ledger.recent', { countMax: 100 })) as ExchangePage
      expect(exchanges.some(({ facts }) => facts['erased'] === true)).toBe(true)
      expect(exchanges.some(({ kind }) => kind === 'erasure')).toBe(true)
    }
    const verified = await verifyReceipt(receipt.bytes, gone.trust)
    expect(verified).toMatchObject({ exchange: first })
  },
)

test('the other party of an erased exchange receives the reason, and no stranger does', async () => {
  const { one } = replicas
  const { role, protocol } = RECEIVERS.echo
  const peer = await replicas.enrol(one, 'peer', [role])
  await one.admin('route.put', { name: 'peer', upstream: replicas.echo.url, protocol })
  const user = await replicas.enrol(one, 'second-leaver', ['caller'])
  const stranger = await replicas.enrol(one, 'curious', ['caller'])
  const heard = await send(one.door, { to: 'peer', as: user.credential() })
  const exchange = exchangeOf(heard)
  await fetchReceipt(peer, exchange)
  await one.admin('agent.revoke', { name: 'second-leaver', reason: 'left' })
  await one.admin('ledger.erase', { subject: 'second-leaver' })
  await expect(fetchReceipt(peer, exchange)).rejects.toThrow('EXCHANGE_ERASED')
  await expect(fetchReceipt(stranger, exchange)).rejects.toThrow('NOT_PERMITTED')
  const { exit, text } = await replicas.command(0, 'receipt', exchange)
  expect(exit).not.toBe(0)
  expect(text).toContain('EXCHANGE_ERASED')
})

test('the command asks first, and names what it does', async () => {
  const { one } = replicas
  const user = await replicas.enrol(one, 'third-leaver', ['caller'])
  const exchange = await call(one, user)
  await one.admin('agent.revoke', { name: 'third-leaver', reason: 'left' })
  const asked = await replicas.command(0, 'erase', '--subject', 'third-leaver')
  expect(asked.exit).not.toBe(0)
  expect(asked.text).toContain('will be unreadable')
  expect(await resultsOf(one, exchange)).toEqual([false, false])
  const done = await replicas.command(0, 'erase', '--subject', 'third-leaver', '--yes')
  expect(done.exit, done.text).toBe(0)
  expect(done.text).toContain('is erased in slot')
  expect(done.text).toContain('Destroy every copy of the keys')
  for (const line of `${asked.text}\n${done.text}`.split('\n')) {
    expect(line.length).toBeLessThanOrEqual(80)
  }
  expect(await resultsOf(one, exchange)).toEqual([true, true])
})

test('a process that is killed during erasures carries them out at its next start', async () => {
  const { one } = replicas
  for (let round = 0; round < 3; round++) {
    const name = `killed-${round}`
    const user = await replicas.enrol(one, name, ['caller'])
    const exchange = await call(one, user)
    await one.admin('agent.revoke', { name, reason: 'left' })
    const erasing = one.admin('ledger.erase', { subject: name }).catch(() => null)
    if (round > 0) await new Promise((resolve) => setTimeout(resolve, round * 4))
    await one.restart('SIGKILL')
    await erasing
    const again = (await one.admin('ledger.erase', { subject: name })) as ErasureView
    expect(again.underWay).toBe(0)
    expect(await resultsOf(one, exchange)).toEqual([true, true])
    await one.admin('ledger.check', {})
  }
})

import { randomUUID } from 'node:crypto'
import { slotOfExchange } from '@countersign/protocol'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { fetchReceipt, type Receipt } from '../../packages/sdk/src/call/receipt.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, field, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import type { Heard } from '../harness/raw-http.ts'
import type { Replica, Replicas } from '../harness/replicas.ts'
import { signed } from '../harness/signed.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

const rpc = (method: string, params: object = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const result = (value: object) => ({ jsonrpc: '2.0', id: 1, result: value })

const forbidden = (name: string): string =>
  `@id("denied") forbid(principal == Agent::"${name}", action, resource);`

type As = Pick<Draft, 'as'>

/** The contract of two processes of one fabric with agents and operators, on any engines. */
export function twoReplicas(engines: string, open: () => Promise<Replicas>): void {
  describe(`two replicas on ${engines}`, () => {
    let replicas: Replicas
    beforeAll(async () => {
      replicas = await open()
      // The policies that one took.
      await expectAccepted(replicas.two)
    })
    afterAll(() => replicas.close())

    const both = (): readonly [Replica, Replica] => [replicas.one, replicas.two]
    const reads = (task: string): Draft => ({ to: 'a2a', body: rpc('GetTask', { id: task }) })
    const pings = (session: string): Draft => ({
      ...{ to: 'mcp', body: rpc('ping'), headers: [['Mcp-Session-Id', session]] },
    })

    async function createTask(at: Replica): Promise<string> {
      const id = randomUUID()
      const task = { id, status: { state: 'TASK_STATE_WORKING' } }
      const draft = { to: 'a2a', body: rpc('SendMessage', { message: { messageId: '1' } }) }
      const heard = await replicas.echo.during(answering(result({ task })), () =>
        send(at.door, draft),
      )
      expect(heard.status).toBe(200)
      return id
    }

    async function openSession(at: Replica): Promise<string> {
      const id = randomUUID()
      const heard = await replicas.echo.during(answering({}, { 'mcp-session-id': id }), () =>
        send(at.door, { to: 'mcp', body: rpc('initialize') }),
      )
      expect(heard.headers.get('mcp-session-id')).toEqual([id])
      return id
    }

    /** Calls of `as` end in that way at both, once both know of the last change. */
    async function expectAtBoth(as: Draft['as'], code: string | null): Promise<void> {
      for (const { door } of both()) {
        const refused = async () => refusalOf(await send(door, as === undefined ? {} : { as }))
        await expect.poll(refused, deadline).toBe(code)
      }
    }

    /** A change by one is in force at the other within 250 ms; no time is asserted here. */
    async function expectAccepted(at: Replica, as?: Draft['as']): Promise<Heard> {
      const draft = as === undefined ? {} : { as }
      return vi.waitFor(async () => {
        const heard = await send(at.door, draft)
        expect([heard.status, refusalOf(heard)]).toEqual([200, null])
        return heard
      }, deadline)
    }

    /** The owner reaches the receiver through `at`, and the agent of `thief` does not. */
    async function expectOwned(at: Replica, draft: Draft, thief: As): Promise<void> {
      const { echo } = replicas
      const owner = await echo.during(answering(result({})), () => send(at.door, draft))
      expect([owner.status, refusalOf(owner)]).toEqual([200, null])
      const before = echo.reached.length
      expect(refusalOf(await send(at.door, { ...draft, ...thief }))).toBe('RECEIVER_UNKNOWN')
      expect(echo.reached).toHaveLength(before)
    }

    /** As the caller would fetch it if it were connected to `at`. */
    async function receiptFrom(at: Replica, exchange: string): Promise<Receipt> {
      const { caller } = replicas
      const { trust } = caller
      const connectionTo = (url: string) => caller.connectionTo(url)
      const connection = connectionTo(at.origin())
      return fetchReceipt({ trust, connection, connectionTo }, exchange).finally(() =>
        connection.close(),
      )
    }

    test('an agent enrols with one and calls through the other, each with a log of its own', async () => {
      const slots: (string | null)[] = []
      for (const [at, other] of [both(), both().toReversed()] as [Replica, Replica][]) {
        const name = `enrolled-${slots.length}`
        const agent = await replicas.enrol(at, name, ['caller'])
        const heard = await expectAccepted(other, agent.credential())
        slots.push(slotOfExchange(field(heard, 'countersign-exchange')))
      }
      expect(new Set(slots)).toEqual(new Set(['a', 'b']))
    })

    test(
      verifies(['authenticate:replay'], 'a signed request is accepted once, not once at each'),
      async () => {
        const { echo, caller } = replicas
        for (const [at, other] of [both(), both().toReversed()] as [Replica, Replica][]) {
          // A new fabric has lost nothing, and accepts its first signed request.
          expect((await send(at.door, await signed(at.door, caller))).status).toBe(200)
          const used = await signed(at.door, caller)
          // As a thief that sends the same bytes to the other process.
          const there = {
            ...other.door,
            place: async (to: string, path: string) => {
              const { port } = await other.door.place(to, path)
              return { ...(await at.door.place(to, path)), port }
            },
          }
          const before = echo.reached.length
          expect((await send(at.door, used)).status).toBe(200)
          expect(refusalOf(await send(there, used))).toBe('MESSAGE_REPLAYED')
          const raced = await signed(at.door, caller)
          const copies = [at.door, there, at.door, there].map((door) => send(door, raced))
          const accepted = (await Promise.all(copies)).filter(({ status }) => status === 200)
          expect(accepted).toHaveLength(1)
          expect(echo.reached).toHaveLength(before + 2)
        }
      },
    )

    test('an API key that one revokes is refused by the other', async () => {
      const { one, two } = replicas
      const { key, prefix } = (await one.admin('key.create', { agent: 'caller' })) as {
        readonly key: string
        readonly prefix: string
      }
      const draft = { as: null, headers: [['X-Api-Key', key]] } as const
      const until = async (matches: (heard: Heard) => boolean) =>
        expect.poll(async () => matches(await send(two.door, draft)), deadline).toBe(true)
      await until(({ status }) => status === 200)
      await one.admin('key.revoke', { prefix })
      await until((heard) => refusalOf(heard) !== null)
    })

    test(
      verifies(
        ['authenticate:quarantine'],
        'a quarantine by either cuts streams and calls at both',
      ),
      async () => {
        const { echo, enrol } = replicas
        for (const [at, by] of both().flatMap((at) => both().map((by) => [at, by] as const))) {
          const name = `cut-${randomUUID().slice(0, 8)}`
          const as = (await enrol(by, name, ['caller'])).credential()
          await expectAccepted(at, as)
          const stream = await echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
            const opened = await openStream(at.door, { as })
            await opened.until(/"a":1/)
            return opened
          })
          await by.admin('agent.quarantine', { name, reason: 'asked for' })
          expect(await stream.ended()).toContain('"reason":"caller-quarantined"')
          for (const replica of both()) {
            const refused = async () => refusalOf(await send(replica.door, { as }))
            await expect.poll(refused, deadline).toBe('AGENT_QUARANTINED')
          }
        }
      },
    )

    const denied = { name: 'denied.cedar', text: forbidden('denied') }

    test(
      verifies(['authorize:one-set'], 'a policy that is put at either decides at both'),
      async () => {
        const as = (await replicas.enrol(replicas.one, 'denied', ['caller'])).credential()
        for (const by of both()) {
          expect(await by.admin('policy.put', denied)).toMatchObject({ taken: true })
          await expectAtBoth(as, 'NOT_PERMITTED')
          const lifted = { ...denied, text: '' }
          expect(await by.admin('policy.put', lifted)).toMatchObject({ taken: true })
          await expectAtBoth(as, null)
        }
      },
    )

    test('a restart and a change of the replica leave tasks, sessions and used requests as they are', async () => {
      const { one, two, caller, echo } = replicas
      const thief = { as: (await replicas.enrol(two, 'thief', ['caller'])).credential() }
      await expectAccepted(one, thief.as)
      const drafts: Draft[] = []
      for (const at of both()) {
        drafts.push(reads(await createTask(at)), pings(await openSession(at)))
      }
      const place = await one.door.place('echo', '/')
      const used = await signed(one.door, caller)
      expect((await send(one.door, used)).status).toBe(200)
      await one.admin('policy.put', { ...denied, text: forbidden('shut-out') })
      const shut = (await replicas.enrol(two, 'shut-out', ['caller'])).credential()
      await one.restart('SIGKILL')
      await expectAtBoth(shut, 'NOT_PERMITTED')
      for (const at of both()) {
        for (const draft of drafts) await expectOwned(at, draft, thief)
        const { port } = await at.door.place('echo', '/')
        const there = { ...at.door, place: async () => ({ ...place, port }) }
        const before = echo.reached.length
        expect(refusalOf(await send(there, used))).toBe('MESSAGE_REPLAYED')
        expect((await send(at.door, await signed(at.door, caller))).status).toBe(200)
        expect(echo.reached).toHaveLength(before + 1)
      }
    })

    test('a receipt and an explanation come from the holder of a log, whichever replica is asked', async () => {
      const { one, two, command } = replicas
      let exchange = ''
      for (const at of both()) {
        exchange = String(field(await send(at.door), 'countersign-exchange'))
        for (const asked of both()) {
          expect(await receiptFrom(asked, exchange)).toMatchObject({ exchange })
        }
        for (const folder of [0, 1] as const) {
          const explained = await command(folder, 'explain', exchange)
          expect(explained).toMatchObject({ exit: 0, text: expect.stringContaining(exchange) })
        }
      }
      await two.stop()
      const text = expect.stringMatching(/EXCHANGE_ELSEWHERE.*\(log slot b, without a holder/)
      expect(await command(0, 'explain', exchange)).toMatchObject({ exit: 3, text })
      const fetched = receiptFrom(one, exchange)
      await expect(fetched).rejects.toMatchObject({ holder: { slot: 'b', address: null } })
      await two.start()
      expect(await command(0, 'explain', exchange)).toMatchObject({ exit: 0 })
    })

    test('an operator’s commands reach a replica that runs', async () => {
      expect(await replicas.command(1, 'agent', 'list')).toMatchObject({ exit: 0 })
      await replicas.one.stop()
      const { exit, text } = await replicas.command(1, 'agent', 'quarantine', 'caller')
      expect({ exit, text }).toMatchObject({ exit: 0 })
      expect(refusalOf(await send(replicas.two.door))).toBe('AGENT_QUARANTINED')
    })
  })
}

import { hash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { ledgerLimits } from '../../packages/fabric/src/ledger/limits.ts'
import { streamLimits } from '../../packages/fabric/src/state/state-stream.ts'
import { deadline } from '../harness/deadline.ts'
import { bytesOf, refusalOf, send } from '../harness/doors.ts'
import { ask, dial } from '../harness/raw-http.ts'
import type { Replica, Replicas } from '../harness/replicas.ts'
import { signed } from '../harness/signed.ts'
import { openStream } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

/** The leases of the replicas, so that a pause is longer than one. */
export const pausedLeaseMs = 2_000
/** Magic and sequence stand before the size in each of the two slots of a head file. */
const sizeAt = 12
const pauseMs = Math.max(pausedLeaseMs, streamLimits.staleMs) * 1.5

export interface PausedReplicas extends Replicas {
  /** Takes a log slot once its lease has ended, as another process would. */
  takeSlot(name: string): Promise<void>
  /** The folder of the log of slot `b`. */
  readonly logOfTwo: string
}

/** The contract of a replica that the operating system stops and continues, on any engines. */
export function pausedReplica(engines: string, open: () => Promise<PausedReplicas>): void {
  describe.runIf(process.platform === 'linux')(`a replica that is paused, on ${engines}`, () => {
    let replicas: PausedReplicas
    beforeAll(async () => {
      replicas = await open()
      await expectServes(replicas.two)
    })
    afterAll(() => replicas.close())

    async function expectServes(at: Replica): Promise<void> {
      await vi.waitFor(async () => {
        const heard = await send(at.door, await signed(at.door, replicas.caller))
        expect([heard.status, refusalOf(heard)]).toEqual([200, null])
      }, deadline)
    }

    /** Connected before the pause: its request waits in the process when that goes on. */
    async function connected(at: Replica, name: string) {
      const credential = (await replicas.enrol(replicas.one, name, ['caller'])).credential()
      await expect
        .poll(async () => (await send(at.door, { as: credential })).status, deadline)
        .toBe(200)
      const place = await at.door.place('echo', '/')
      const socket = await dial({ port: place.port, credential })
      return { credential, ask: () => ask(socket, bytesOf({}, place)) }
    }

    /** A stream through `at`, whose receiver sends events when the test wants. */
    async function openEvents(
      at: Replica,
      as: Awaited<ReturnType<typeof connected>>['credential'],
    ) {
      let receiver: ServerResponse | null = null
      const answering = (_: unknown, response: ServerResponse): void => {
        receiver = response
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('data: {"event":1}\n\n')
      }
      return replicas.echo.during(answering, async () => {
        const stream = await openStream(at.door, { as })
        await stream.until(/"event":1/)
        return { stream, sendEvent: () => receiver?.write('data: {"event":2}\n\n') }
      })
    }

    test(
      verifies(
        ['authenticate:quarantine', 'revoke:live'],
        'decides nothing by what it knew: a request and an event that waited meet the revocation',
      ),
      async () => {
        const { one, two, echo } = replicas
        const waiting = await connected(two, 'waiting')
        const { stream, sendEvent } = await openEvents(two, waiting.credential)
        const innocent = await connected(two, 'innocent')
        await two.pause()
        await one.admin('agent.quarantine', { name: 'waiting', reason: 'asked for' })
        const before = echo.reached.length
        const answers = [waiting.ask(), innocent.ask()] as const
        sendEvent()
        await new Promise((wait) => setTimeout(wait, pauseMs))
        two.resume()
        const [refused, accepted] = await Promise.all(answers)
        expect(refusalOf(refused)).toBe('AGENT_QUARANTINED')
        expect([accepted.status, refusalOf(accepted)]).toEqual([200, null])
        expect(echo.reached).toHaveLength(before + 1)
        expect(await stream.ended()).not.toContain('"event":2')
        await expectServes(two)
      },
    )

    test(
      verifies(
        ['record:one-holder'],
        'signs nothing and ends once another process has its log slot, and comes back',
      ),
      async () => {
        const { one, two, echo } = replicas
        const waiting = await connected(two, 'late')
        const { stream, sendEvent } = await openEvents(two, waiting.credential)
        await quiet(replicas.logOfTwo)
        await two.pause()
        await replicas.takeSlot('b')
        await new Promise((wait) => setTimeout(wait, pauseMs))
        const log = filesOf(replicas.logOfTwo)
        const before = echo.reached.length
        const answer = waiting.ask().then(refusalOf, (cause: unknown) => String(cause))
        sendEvent()
        two.resume()
        expect(await two.process().end()).not.toBe(0)
        expect(await answer).toMatch(/^LEDGER_UNAVAILABLE$|hung up/)
        expect(await stream.ended()).not.toContain('"event":2')
        expect(echo.reached).toHaveLength(before)
        expect(filesOf(replicas.logOfTwo)).toEqual(log)
        expect(two.process().output).toContain('another process took it')
        await expectServes(one)
        await two.start()
        await expectServes(two)
      },
    )
  })
}

/**
 * Waits until everything is published: a process that is stopped while it renames a tile would
 * finish that, and the files would differ without a signature of its own.
 */
async function quiet(folder: string): Promise<void> {
  await vi.waitFor(async () => {
    const head = readFileSync(join(folder, 'head'))
    const [, published] = readFileSync(join(folder, 'log/checkpoint'), 'utf8').split('\n')
    const sizes = [0, head.length / 2].map((slot) => head.readBigUInt64BE(slot + sizeAt))
    const before = filesOf(folder)
    expect(sizes).toContain(BigInt(published ?? ''))
    expect(sizes.filter((size) => size > BigInt(published ?? ''))).toEqual([])
    const { publishDelayMs, publishPauseMs } = ledgerLimits
    await new Promise((wait) => setTimeout(wait, publishDelayMs + publishPauseMs))
    expect(filesOf(folder)).toEqual(before)
  }, deadline)
}

/** The hash of every file of a log, without those of its lock, which ends with the process. */
function filesOf(folder: string): readonly string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  return files
    .filter((each) => each.isFile() && !each.name.startsWith('lock'))
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => `${path} ${hash('sha256', readFileSync(path))}`)
}

import { randomBytes } from 'node:crypto'
import { connect as connectHttp2 } from 'node:http2'
import { join } from 'node:path'
import { encodeLeaseRequest, parseLeases } from '@countersign/protocol'
import { openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { pemOf } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const messages = 9
const leases = 60

interface Leased {
  readonly status: number
  readonly refusal: string
  readonly limit: string
  readonly body: Buffer
}

/** Leases on one connection; with `windowBytes` 0 no byte of a response is taken. */
function leasing(world: World, who: World['caller'], windowBytes: number) {
  const { port } = new URL(world.fabric.origin)
  const session = connectHttp2(world.fabric.origin, {
    ...{ ...pemOf(who.credential()), port: Number(port), rejectUnauthorized: false },
    settings: { initialWindowSize: windowBytes },
  })
  session.on('error', () => undefined)
  const lease = (group: string): Promise<Leased> => {
    const body = encodeLeaseRequest({ group, count: 256, leaseMs: 60_000, waitMs: 0 })
    return new Promise((resolve) => {
      const stream = session.request({
        ...{ ':method': 'POST', ':path': '/v1/channels/room/leases' },
        ...{ 'content-type': 'application/json', 'content-length': String(body.length) },
      })
      const chunks: Buffer[] = []
      let head = { status: 0, refusal: '', limit: '' }
      stream.on('response', (fields) => {
        const [refusal, limit] = [fields['countersign-refusal'], fields['countersign-limit']]
        const status = Number(fields[':status'])
        head = { status, refusal: String(refusal ?? ''), limit: String(limit ?? '') }
        // Nothing more will come through a window that is shut.
        if (windowBytes === 0) resolve({ ...head, body: Buffer.alloc(0) })
      })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', () => undefined)
      stream.once('close', () => resolve({ ...head, body: Buffer.concat(chunks) }))
      stream.end(body)
    })
  }
  return { lease, end: () => session.destroy() }
}

const unparsed: Attempt = () =>
  inOwnWorld({ receivers: ['echo'], limits: { bodyBytes: 4 * 1024 * 1024 } }, async (world) => {
    const greedy = await world.agent('greedy', ['caller'])
    await world.admin('channel.create', { name: 'room', members: ['greedy', 'caller'] })
    const sender = await openAgent({ dir: join(world.dir, 'greedy'), clock: world.clock })
    const sending = sender.channel('room')
    for (let at = 0; at < messages; at++) await sending.send(randomBytes(1_000_000))
    await sender.close()
    const hoard = leasing(world, greedy, 0)
    const honest = leasing(world, world.caller, 2 ** 24)
    try {
      const answers = await Promise.all(
        Array.from({ length: leases }, (_, at) => hoard.lease(`group-${at}`)),
      )
      const refused = answers.filter(({ status }) => status !== 200)
      // Its share is 32 MiB, and each lease brings at least one message of a megabyte.
      expect(refused.length).toBeGreaterThanOrEqual(leases - 32)
      expect(refused.length).toBeLessThan(leases)
      for (const { status, refusal, limit } of refused) {
        expect([status, refusal]).toEqual([503, 'OVERLOADED'])
        expect(limit).toBe('queue.leaseMemoryBytes, 128 MiB')
      }
      // Nothing was lost, and no attempt counted: who was refused finds all of it later.
      const at = answers.findIndex(({ status }) => status !== 200)
      hoard.end()
      const taken: { offset: number; attempt: number }[] = []
      while (taken.length < messages) {
        const { status, body } = await honest.lease(`group-${at}`)
        expect(status).toBe(200)
        taken.push(...(parseLeases(body) ?? []))
      }
      expect(taken.map(({ attempt }) => attempt)).toEqual(taken.map(() => 1))
      expect(new Set(taken.map(({ offset }) => offset)).size).toBe(messages)
    } finally {
      hoard.end()
      honest.end()
    }
  })

attack(
  verifies(
    ['operate:waiting-share'],
    'an agent that leases again and again and reads nothing occupies its own share, and others lease on',
  ),
  {
    gateway: 'waiting-polls',
    mesh: 'connectors keep no channels',
    queue: unparsed,
  },
)

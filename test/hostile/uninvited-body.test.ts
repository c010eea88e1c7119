import { connect } from 'node:http2'
import type { RefusalCode } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { openHall } from '../harness/channels.ts'
import { defaultBody, type Place, refusalOf, send } from '../harness/doors.ts'
import { sendHalf } from '../harness/half-sent.ts'
import { untilRefused } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'
import { forge } from './tls-forge.ts'

type Credential = Parameters<typeof sendHalf>[1]['credential']
type Where = (world: World) => Promise<Place>

const nothing = new Uint8Array(0)
const headers = [['Expect', '100-continue']] as const

/** The client waits to be invited; a refusal must not invite it, and must end the connection. */
async function expectUninvited(place: Place, code: RefusalCode, credential: Credential) {
  const half = { length: 60_000, sent: nothing, headers, credential }
  const unfinished = await sendHalf(place, half)
  try {
    const heard = await unfinished.answer()
    if (heard === null) throw new Error('the peer hung up without an answer')
    expect([refusalOf(heard), unfinished.statuses()]).toEqual([code, [heard.status]])
    expect(heard.headers.get('connection')).toEqual(['close'])
  } finally {
    unfinished.close()
  }
}

async function expectInvited(place: Place, credential: Credential): Promise<void> {
  const half = { length: defaultBody.length, sent: nothing, headers, credential }
  const unfinished = await sendHalf(place, half)
  try {
    while (unfinished.statuses().length === 0) await unfinished.news()
    expect(unfinished.statuses()).toEqual([100])
    unfinished.send(Buffer.from(defaultBody))
    expect((await unfinished.answer())?.status).toBe(200)
  } finally {
    unfinished.close()
  }
}

const atAgent: Where = (world) => world.gateway.place('echo', '/')
const atChannel: Where = async (world) => {
  const { name } = await openHall(world)
  return world.control.place('control', `/v1/channels/${name}/messages`)
}

const byStrangerAt =
  (where: Where): Attempt =>
  async (world) => {
    await expectUninvited(await where(world), 'CREDENTIAL_MISSING', undefined)
    await expectUninvited(await where(world), 'CREDENTIAL_REJECTED', forge())
  }

const invited: Attempt = async (world) =>
  expectInvited(await atAgent(world), world.caller.credential())

const overHttp2: Attempt = async (world) => {
  const { port, authority, path } = await atAgent(world)
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  try {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': path, ':authority': authority },
      expect: '100-continue',
    })
    stream.on('error', () => undefined)
    const seen = await new Promise((resolve, reject) => {
      stream.once('continue', () => resolve('continue'))
      stream.once('response', (fields) => resolve(fields['countersign-refusal']))
      stream.once('close', () => reject(new Error('closed without an answer')))
    })
    expect(seen).toBe('CREDENTIAL_MISSING')
  } finally {
    session.destroy()
  }
}

const onMesh: Attempt = () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const agent = await world.agent('eager', ['caller'])
    const credential = agent.credential()
    const place = await world.mesh.place('echo', '/')
    await expectInvited(place, credential)
    await world.admin('agent.quarantine', { name: agent.name, reason: 'told to' })
    await untilRefused(() => send(world.mesh, { as: credential }))
    await expectUninvited(place, 'AGENT_QUARANTINED', credential)
  })

attack(
  verifies(
    ['authenticate:before-body'],
    'a client that waits for 100 (Continue) is judged before its body is invited',
  ),
  {
    gateway: {
      'by an unauthenticated client': byStrangerAt(atAgent),
      'to administration': byStrangerAt(async (world) =>
        world.control.place('control', '/v1/admin'),
      ),
      'by an agent': invited,
      'over HTTP/2': overHttp2,
    },
    mesh: onMesh,
    queue: byStrangerAt(atChannel),
  },
)

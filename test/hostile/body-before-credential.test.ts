import { connect } from 'node:http2'
import type { RefusalCode } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { openHall } from '../harness/channels.ts'
import { type HeaderList, send } from '../harness/doors.ts'
import { type HalfSent, sendHalf } from '../harness/half-sent.ts'
import { expectHeard, expectRefused, untilRefused } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'
import { forge } from './tls-forge.ts'

/** The head promises more than is ever sent, so an answer can rest on the head alone. */
const half = { length: 60_000, sent: Buffer.from('{"hello":') }

type Where = (world: World) => ReturnType<World['gateway']['place']>

const atAgent: Where = (world) => world.gateway.place('echo', '/')
const atChannel: Where = async (world) => {
  const { name } = await openHall(world)
  return world.control.place('control', `/v1/channels/${name}/messages`)
}
const at =
  (path: string): Where =>
  (world) =>
    world.control.place('control', path)

const refusedFromHead =
  (where: Where, code: RefusalCode, change: Partial<HalfSent>): Attempt =>
  async (world) => {
    const unfinished = await sendHalf(await where(world), { ...half, ...change })
    try {
      const attempt = async () => {
        const heard = await unfinished.answer()
        if (heard === null) throw new Error('the peer hung up without an answer')
        return heard
      }
      await expectRefused(world, 'gateway', { code, attempt })
    } finally {
      unfinished.close()
    }
  }

const forged: HeaderList = [
  ['X-Api-Key', 'csk_00000000_0000000000000000000000000000000000000000000'],
]
const attacks: Readonly<Record<string, readonly [RefusalCode, Partial<HalfSent>]>> = {
  'with nothing': ['CREDENTIAL_MISSING', {}],
  'with a certificate of its own making': ['CREDENTIAL_REJECTED', { credential: forge() }],
  'with a key that was never made': ['CREDENTIAL_REJECTED', { headers: forged }],
  'with a token that names no subject': [
    'CREDENTIAL_REJECTED',
    { headers: [['Authorization', 'Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA']] },
  ],
}

const each = (place: string, where: Where): Record<string, Attempt> =>
  Object.fromEntries(
    Object.entries(attacks).map(([name, [code, change]]) => [
      `${place}, ${name}`,
      refusedFromHead(where, code, change),
    ]),
  )

/** Over HTTP/2 the stream is answered while its body is still open. */
const overHttp2: Attempt = async (world) => {
  const { port, authority, path } = await atAgent(world)
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  try {
    const stream = session.request({ ':method': 'POST', ':path': path, ':authority': authority })
    stream.on('error', () => undefined)
    stream.write('{"hello":')
    const code = await new Promise((resolve, reject) => {
      stream.once('response', (headers) => resolve(headers['countersign-refusal']))
      stream.once('close', () => reject(new Error('closed without an answer')))
    })
    expect(code).toBe('CREDENTIAL_MISSING')
  } finally {
    session.destroy()
  }
}

/** A connector accepts certificates of the trust domain only; a holder may have lost its status. */
const onMesh: Attempt = (_) =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const agent = await world.agent('half-sender', ['caller'])
    const credential = agent.credential()
    await world.admin('agent.quarantine', { name: agent.name, reason: 'told to' })
    await untilRefused(() => send(world.mesh, { as: credential }))
    const unfinished = await sendHalf(await world.mesh.place('echo', '/'), { ...half, credential })
    const heard = await unfinished.answer()
    unfinished.close()
    if (heard === null) throw new Error('the peer hung up without an answer')
    expectHeard(heard, 'mesh', 'AGENT_QUARANTINED')
  })

attack(
  verifies(
    ['authenticate:before-body'],
    'a request is refused from its head, while its body has not arrived',
  ),
  {
    gateway: {
      ...each('to an agent', atAgent),
      ...each('to administration', at('/v1/admin')),
      ...each('to a connector’s entries', at('/v1/mesh/entries')),
      ...each('to nothing', at('/nowhere')),
      'over HTTP/2': overHttp2,
    },
    mesh: onMesh,
    queue: each('to a channel', atChannel),
  },
)

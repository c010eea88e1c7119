import type { TLSSocket } from 'node:tls'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, field, refusalOf } from '../harness/doors.ts'
import { dial, talk } from '../harness/raw-http.ts'
import { verifies } from '../requirements.ts'

/** The session that the server offers to resume from, after one honest exchange. */
async function sessionOf(door: Door, agent: Parameters<typeof dial>[0]['credential']) {
  const { port, authority, path } = await door.place('echo', '/')
  const socket = (await dial({ port, credential: agent })) as TLSSocket
  const tickets: Buffer[] = []
  socket.on('session', (session: Buffer) => tickets.push(session))
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  await new Promise((resolve) => socket.once('data', resolve))
  const session = tickets[0] ?? socket.getSession()
  socket.destroy()
  return session
}

const resume =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const door = world[transport]
    const agent = await world.agent(`resuming-on-${transport}`, ['caller'])
    const credential = agent.credential()
    const session = await sessionOf(door, credential)
    await world.admin('agent.revoke', { name: agent.name, reason: 'told to' })
    const before = world.echo.reached.length
    const { port, authority, path } = await door.place('echo', '/')
    const get = `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`
    const place = { port, ...(session === undefined ? {} : { session }) }
    const [bare] = await talk(place, [get])
    if (transport === 'mesh') expect(bare).toBeUndefined()
    else expect(bare && refusalOf(bare)).toBe('CREDENTIAL_MISSING')
    expect(world.echo.reached.slice(before)).toEqual([])
    const [again] = await talk({ ...place, credential }, [get])
    if (transport === 'gateway')
      expect(again && field(again, 'countersign-refusal')).toBe('AGENT_REVOKED')
  }

attack(
  verifies(['authenticate:no-resumption'], 'a session of before does not bring an identity back'),
  {
    gateway: resume('gateway'),
    mesh: resume('mesh'),
    queue: 'members come in by the gateway',
  },
)

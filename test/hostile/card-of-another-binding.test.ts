import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { verifies } from '../requirements.ts'

interface Card {
  readonly supportedInterfaces: readonly {
    readonly url: string
    readonly protocolBinding: string
  }[]
}

/** Checks which interfaces of an agent's card remain after it passed through us. */
const listed =
  (transport: 'gateway' | 'mesh', to: string, bindings: readonly string[]): Attempt =>
  async (world) => {
    const door = world[transport]
    const interfaces = ['GRPC', 'HTTP+JSON', 'JSONRPC', 'http+json'].map((protocolBinding) => ({
      ...{ url: `${world.echo.url}/v1`, protocolBinding, protocolVersion: '1.0' },
    }))
    const elsewhere = { url: 'http://198.51.100.7/', protocolBinding: 'HTTP+JSON' }
    const card = {
      ...{ name: to, version: '1', capabilities: {}, skills: [] },
      supportedInterfaces: [...interfaces, elsewhere],
    }
    const draft = { to, method: 'GET', path: '/.well-known/agent-card.json', body: null }
    const heard = await world.echo.during(answering(card), () => send(door, draft))
    const { supportedInterfaces } = JSON.parse(heard.body.toString()) as Card
    expect(supportedInterfaces.map(({ protocolBinding }) => protocolBinding)).toEqual(bindings)
    for (const { url } of supportedInterfaces) {
      expect(url).toMatch(/\/v1$/)
      expect(url.startsWith(world.echo.url)).toBe(false)
    }
    // Listed bindings are carried, and unlisted ones are refused.
    const message = { messageId: 'm', role: 'ROLE_USER', parts: [{ text: 'a' }] }
    const rest = { to, path: '/v1/message:send', body: JSON.stringify({ message }) }
    const { status } = await world.echo.during(answering({ message }), () => send(door, rest))
    expect(status).toBe(bindings.includes('HTTP+JSON') ? 200 : 404)
  }

const onEach = (transport: 'gateway' | 'mesh') => ({
  'on a route with an open protocol': listed(transport, 'echo', ['HTTP+JSON', 'JSONRPC']),
  'on a route of A2A alone': listed(transport, 'a2a', ['JSONRPC']),
})

attack(verifies(['deliver:cards'], 'a card lists the interfaces that are carried, and no other'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'agents on a channel publish no card',
})

import { mkdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join as joinPath } from 'node:path'
import { type Agent, openAgent } from '../../packages/sdk/src/agent.ts'
import { formatJoin, parseJoin } from '../../packages/sdk/src/identity/join.ts'
import type { World } from './world.ts'

/** A network before the fabric that loses what a test selects. */
export interface LossyNetwork {
  /** The next bytes of the fabric are lost, and their connection is reset. */
  loseNext(): void
  /** Every connection is reset now. */
  cut(): void
  /** New connections are refused from now on. */
  stopListening(): void
  close(): Promise<void>
}

export interface LossyProxy extends LossyNetwork {
  readonly url: string
}

export interface LossyAgent extends LossyNetwork {
  readonly agent: Agent
}

export async function openLossyProxy(world: World): Promise<LossyProxy> {
  let losing = false
  const sockets = new Set<Socket>()
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  const server = createServer((client) => {
    const fabric = connect(Number(new URL(world.fabric.origin).port), '127.0.0.1')
    for (const socket of [client, fabric]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        fabric.destroy()
      })
    }
    client.on('data', (bytes) => fabric.write(bytes))
    fabric.on('data', (bytes) => {
      if (!losing) return void client.write(bytes)
      losing = false
      client.resetAndDestroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    loseNext: () => {
      losing = true
    },
    stopListening: () => void server.close(),
    async close() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Enrols `name`, whose every byte to the fabric passes through a proxy that can lose responses. */
export async function openLossyAgent(world: World, name: string): Promise<LossyAgent> {
  const proxy = await openLossyProxy(world)
  const order = { name, kind: 'agent', roles: ['caller'], segment: '', attributes: {} } as const
  const { join } = await world.fabric.invite({ ...order, ttlSeconds: 900 })
  const dir = joinPath(world.dir, name)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const line = formatJoin({ ...parseJoin(join), url: proxy.url })
  const agent = await openAgent({ join: line, dir, clock: world.clock })
  return {
    ...proxy,
    agent,
    async close() {
      await agent.close()
      await proxy.close()
    },
  }
}

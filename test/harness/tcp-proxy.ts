import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A network in front of a server, which a test interrupts in the ways that networks fail. */
export interface TcpProxy {
  readonly port: number
  /** Nothing arrives any more in either direction, and no connection ends. */
  hang(): void
  /** Every connection is reset now, and so is each new one. */
  refuse(): void
  /** The bytes that were held back arrive, and so does everything after them. */
  resume(): void
  /** Every connection is reset now; new ones are accepted. */
  cut(): void
  /** New connections lead to another server, as after a failover; every other one is reset now. */
  leadTo(port: number): void
  /** The response to the next request that contains `text` is lost, and its connection is reset. */
  loseResponseTo(text: string): void
  close(): Promise<void>
}

export async function openTcpProxy(serverPort: number, host = '127.0.0.1'): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let hanging = false
  let refusing = false
  let losing: string | null = null
  let leadsTo = serverPort
  const server = createServer((client) => {
    if (refusing) return void client.resetAndDestroy()
    const upstream = connect(leadsTo, '127.0.0.1')
    let isLost = false
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      if (hanging) socket.pause()
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (bytes) => {
      if (losing !== null && bytes.includes(losing)) {
        losing = null
        isLost = true
      }
      upstream.write(bytes)
    })
    upstream.on('data', (bytes) => {
      if (isLost) client.resetAndDestroy()
      else client.write(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return {
    port: (server.address() as AddressInfo).port,
    hang() {
      hanging = true
      for (const socket of sockets) socket.pause()
    },
    refuse() {
      refusing = true
      for (const socket of sockets) socket.resetAndDestroy()
    },
    resume() {
      hanging = false
      refusing = false
      for (const socket of sockets) socket.resume()
    },
    cut() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    leadTo(to) {
      leadsTo = to
      for (const socket of sockets) socket.resetAndDestroy()
    },
    loseResponseTo(text) {
      losing = text
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

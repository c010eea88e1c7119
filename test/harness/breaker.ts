import { type AddressInfo, createServer, type Socket } from 'node:net'

/** The action of a broken receiver on one request; `whole` resolves once all of it has arrived. */
export type Breaking = (socket: Socket, whole: Promise<void>) => unknown

export interface Breaker {
  readonly url: string
  /**
   * Each request that arrives while `scene` runs meets the next of `script`; a further one is
   * answered well. Resolves with what `scene` came to, and how many requests arrived.
   */
  during<T>(script: readonly Breaking[], scene: () => Promise<T>): Promise<[T, number]>
  close(): Promise<void>
}

/** A receiver of raw bytes that counts what reaches it. */
export async function openBreaker(): Promise<Breaker> {
  const sockets = new Set<Socket>()
  let script: Breaking[] = []
  let arrived = 0
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    readRequests(socket, (whole) => {
      arrived += 1
      const breaking = script.shift() ?? answersWell
      breaking(socket, whole)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async during(given, scene) {
      script = [...given]
      arrived = 0
      try {
        const result = await scene()
        return [result, arrived]
      } finally {
        script = []
        // The next scene begins with connections of its own.
        for (const socket of sockets) socket.destroy()
      }
    },
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Calls `arrive` with each head; its promise resolves with the last byte of the body. */
function readRequests(socket: Socket, arrive: (whole: Promise<void>) => void): void {
  let bytes = Buffer.alloc(0)
  let body: { left: number; readonly done: () => void } | null = null
  const read = (): void => {
    if (body === null) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = bytes.subarray(0, end).toString('latin1')
      bytes = bytes.subarray(end + 4)
      const { promise, resolve } = Promise.withResolvers<void>()
      body = { left: Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0), done: resolve }
      arrive(promise)
    }
    const taken = Math.min(body.left, bytes.length)
    body.left -= taken
    bytes = bytes.subarray(taken)
    if (body.left > 0) return
    body.done()
    body = null
    read()
  }
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    read()
  })
}

const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'

/** A whole response, after which the connection stays open for the next request. */
export const answersWell: Breaking = (socket, whole) =>
  whole.then(() => socket.write(`${head}Content-Length: 8\r\n\r\n{"ok":1}`))

const afterWhole =
  (act: (socket: Socket) => unknown): Breaking =>
  (socket, whole) =>
    whole.then(() => act(socket))

/** Each of them has the request, or part of it, and gives no whole response. */
export const BREAKINGS: Readonly<Record<string, Breaking>> = {
  'closes after the head': (socket) => socket.end(),
  'resets after the head': (socket) => socket.resetAndDestroy(),
  'closes after the whole request': afterWhole((socket) => socket.end()),
  'resets after the whole request': afterWhole((socket) => socket.resetAndDestroy()),
  'sends half a response head': afterWhole((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Ty')),
  'sends half a status line and resets': afterWhole((socket) => {
    socket.write('HTTP/1.1 2', () => setTimeout(() => socket.resetAndDestroy(), 20))
  }),
  'sends half of a body with a length': afterWhole((socket) =>
    socket.end(`${head}Content-Length: 80\r\n\r\n{"ok":1}`),
  ),
  'sends half of a chunked body': afterWhole((socket) =>
    socket.end(`${head}Transfer-Encoding: chunked\r\n\r\n8\r\n{"ok":1}\r\n`),
  ),
  'resets in the body': afterWhole((socket) => {
    const bytes = `${head}Content-Length: 80\r\n\r\n{"ok":1}`
    socket.write(bytes, () => setTimeout(() => socket.resetAndDestroy(), 20))
  }),
  'sends no HTTP': afterWhole((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n')),
  'announces a response without end': afterWhole((socket) => {
    const flood = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(64)
    socket.write(flood)
  }),
  'closes before it read the body, with half a response': (socket) =>
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'),
}

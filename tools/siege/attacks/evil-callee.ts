import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Attack, dial, hold, post } from '../attack.ts'

let calls = 0

function stream(response: ServerResponse, write: () => void, everyMs: number): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const timer = setInterval(write, everyMs)
  response.once('close', () => clearInterval(timer))
}

/** Each call meets the next way to answer badly. */
const answers: readonly ((response: ServerResponse) => void)[] = [
  // Never answers.
  () => undefined,
  // Closes in the middle.
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1_000 })
    response.write('{"half":')
    setTimeout(() => response.destroy(), 200)
  },
  // Answers byte by byte, without end.
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const timer = setInterval(() => response.write(' '), 500)
    response.once('close', () => clearInterval(timer))
  },
  // Events that are too large.
  (response) => stream(response, () => response.write(`data: ${'x'.repeat(2_000_000)}\n\n`), 500),
  // An event that never ends.
  (response) => stream(response, () => response.write('x'.repeat(10_000)), 100),
  // Events of a byte, as many as leave a socket.
  (response) => stream(response, () => response.write('data: 1\n\n'.repeat(2_000)), 50),
  // Answers, and resets the connection under whatever comes next on it.
  (response) => {
    const { socket } = response
    response.writeHead(200, { 'content-type': 'application/json', connection: 'keep-alive' })
    response.end('{}', () => setTimeout(() => socket?.resetAndDestroy(), 20))
  },
  // A large answer.
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify('x'.repeat(3_900_000)))
  },
]

/** A receiver that never answers, never ends, or breaks off, and an agent that calls it. */
export const attack: Attack = {
  name: 'evil callee',
  listen() {
    const server = createServer((request, response) => {
      request.resume()
      response.on('error', () => undefined)
      answers[calls++ % answers.length]?.(response)
    })
    return new Promise((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
    })
  },
  async round(target) {
    const before = calls
    let isCalled = false
    await hold(target, 12, async () => {
      if (calls > before && !isCalled) {
        isCalled = true
        target.confirm()
      }
      const socket = await dial(target, true)
      // Every second caller reads nothing either.
      if (calls % 2 === 0) socket.pause()
      else socket.resume()
      const fields = ['Content-Type: application/json', 'Content-Length: 2']
      socket.write(`${post(target, '/agents/evil/', fields)}{}`)
      return socket
    })
    if (calls > before && !isCalled) target.confirm()
  },
}

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { Lab } from '../faults/lab.ts'
import type { ServerProcess } from '../faults/server-process.ts'
import { dial, talk } from '../harness/raw-http.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 1024 * 1024

/** The action of a receiver on a request for a path; it never ends what it begins. */
const hoards: Readonly<Record<string, (response: ServerResponse) => void>> = {
  '/lines': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n')
    response.write('a\n'.repeat(500_000))
  },
  '/fields': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`data: ${'x'.repeat(60)}\n`.repeat(15_000))
  },
  '/stalled': (response) => {
    response.writeHead(200, { 'content-length': 4 * mebibyte, 'content-type': 'text/plain' })
    response.write(Buffer.alloc(4 * mebibyte - 1, 0x20))
  },
  '/flood': (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const events = Buffer.from(`data: ${'x'.repeat(500)}\n\n`.repeat(128))
    const pump = (): void => {
      if (response.destroyed) return
      while (response.write(events));
      response.once('drain', pump)
    }
    pump()
  },
}

let lab: Lab
let receiver: Server
let port = 0
let fabric: ServerProcess
let connector: ServerProcess
let key = ''

beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-received-'))
  lab = new Lab({ dir, library: '' }, dir)
  receiver = createServer((request, response) => {
    response.on('error', () => undefined)
    const hoard = hoards[request.url ?? '']
    if (hoard === undefined) response.writeHead(200).end()
    else hoard(response)
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  fabric = lab.start()
  port = Number(new URL(String((await fabric.ready())['origin'])).port)
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  connector = lab.connect({ words: ['--expose', url] })
  await connector.ready()
  const stdout = {
    write: (text: string) => {
      key += text.trim()
    },
  }
  const stderr = { write: () => undefined }
  const words = ['--data', lab.data, '--config', lab.path('countersign.yaml')]
  expect(await run(['key', 'create', 'caller', ...words], { stdout, stderr })).toBe(0)
  const open = 'permit(principal, action == Action::"call", resource);\n'
  writeFileSync(join(lab.data, 'policies', 'open.cedar'), open)
  await vi.waitFor(async () => expect(await callOnce('/')).toBe(200), { timeout: 30_000 })
}, 120_000)

afterAll(() => {
  receiver.closeAllConnections()
  receiver.close()
  lab.close()
  rmSync(lab.dir, { recursive: true, force: true })
})

/** The most memory that the process ever had in use. */
function peakBytes({ pid }: ServerProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

async function callOnce(path: string): Promise<number | undefined> {
  const lines = [
    `GET /agents/caller${path} HTTP/1.1`,
    `Host: localhost:${port}`,
    `X-Api-Key: ${key}`,
  ]
  return (await talk({ port }, [`${lines.join('\r\n')}\r\n\r\n`]))[0]?.status
}

/**
 * Opens that many calls, none of which is read, and looks at the peaks some time after the last.
 */
async function peaksAfter(path: string, calls: number): Promise<readonly [number, number]> {
  await vi.waitFor(async () => expect(await callOnce('/')).toBe(200), { timeout: 30_000 })
  const before = [peakBytes(fabric), peakBytes(connector)] as const
  const lines = [
    `GET /agents/caller${path} HTTP/1.1`,
    `Host: localhost:${port}`,
    `X-Api-Key: ${key}`,
  ]
  const sockets: Socket[] = []
  try {
    for (let i = 0; i < calls; i++) {
      const socket = await dial({ port, credential: undefined })
      sockets.push(socket)
      socket.on('error', () => undefined)
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    }
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    // The share of this receiver may be used up, by this very caller: 503, or 403 where its
    // connector states so.
    expect([200, 403, 503]).toContain(await callOnce('/'))
    return [peakBytes(fabric) - before[0], peakBytes(connector) - before[1]]
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

/**
 * Its shares, up to twice that while buffers grow, and what is garbage until it is collected.
 * Floods are not refused by their share, so that they leave some of the 64 connections to the
 * receiver free: with none, the call that follows would wait until the first of them has stalled
 * for long enough.
 */
const peaks: readonly (readonly [string, number, number])[] = [
  ['/lines', 128, 256],
  ['/fields', 128, 256],
  ['/stalled', 128, 320],
  ['/flood', 60, 256],
]

test.each(peaks)(
  verifies(['operate:answer-memory'], '%s, %i times at once, leave the memory bounded'),
  async (path, calls, most) => {
    const [atGateway, atConnector] = await peaksAfter(path, calls)
    expect(atGateway / mebibyte).toBeLessThan(most)
    expect(atConnector / mebibyte).toBeLessThan(most)
  },
)

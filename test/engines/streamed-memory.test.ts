import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type RequestOptions,
  request as requestPlain,
  type Server,
} from 'node:http'
import { request as requestTls } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { Lab } from '../faults/lab.ts'
import type { ServerProcess } from '../faults/server-process.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 1024 * 1024
const gibibyte = 1024 * mebibyte

interface Target extends Omit<RequestOptions, 'headers'> {
  readonly headers?: Readonly<Record<string, string>>
  readonly host: string
  readonly port: number
  readonly path: string
  readonly isPlain: boolean
}

let lab: Lab
let receiver: Server
let fabric: ServerProcess
/** The connector of the agent that streams, and the one in front of its receiver. */
let outbound: ServerProcess
let inbound: ServerProcess
let gateway: Target
let connector: Target
let received = 0

beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-streamed-'))
  lab = new Lab({ dir, library: '' }, dir)
  receiver = createServer((asked, response) => {
    asked.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    asked.on('end', () => response.end('{}'))
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const upstream = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  lab.configure({
    agents: { sink: { upstream, protocol: 'http', roles: ['open'] } },
    routes: Object.fromEntries(
      ['sink', 'hidden'].map((name) => [name, { streams: { permit: 'request' } }]),
    ),
  })
  fabric = lab.start()
  const { port } = new URL(String((await fabric.ready())['origin']))
  inbound = lab.connect({
    words: ['--as', 'hidden', '--expose', upstream, '--protocol', 'http', '--no-observe'],
  })
  await inbound.ready()
  outbound = lab.connect({ words: ['--no-observe'] })
  const { loopbackUrl } = await outbound.ready()
  const own = new URL(String(loopbackUrl))
  let key = ''
  const stdout = {
    write: (text: string) => {
      key += text.trim()
    },
  }
  const words = ['--data', lab.data, '--config', lab.path('countersign.yaml')]
  const stderr = { write: () => undefined }
  expect(await run(['key', 'create', 'caller', ...words], { stdout, stderr })).toBe(0)
  const open = 'permit(principal, action == Action::"call", resource);\n'
  writeFileSync(join(lab.data, 'policies', 'open.cedar'), open)
  const credential = { headers: { 'x-api-key': key } }
  gateway = {
    ...{ host: 'localhost', port: Number(port), path: '/agents/sink/', isPlain: false },
    ...credential,
  }
  connector = { host: own.hostname, port: Number(own.port), path: '/hidden/', isPlain: true }
  for (const target of [gateway, connector]) {
    await vi.waitFor(async () => expect(await upload(target, mebibyte)).toBe(200), {
      timeout: 30_000,
    })
  }
}, 120_000)

afterAll(() => {
  receiver.closeAllConnections()
  receiver.close()
  lab.close()
  rmSync(lab.dir, { recursive: true, force: true })
})

/** Streams so many bytes as fast as they are taken, and gives the status. */
function upload(
  { isPlain, headers, ...target }: Target,
  bytes: number,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = {
      ...{ ...target, method: 'POST', rejectUnauthorized: false },
      headers: { ...headers, 'content-type': 'application/octet-stream' },
    }
    const answered = (response: IncomingMessage): void => {
      response.resume()
      response.on('end', () => resolve(response.statusCode))
    }
    const asked = isPlain ? requestPlain(options, answered) : requestTls(options, answered)
    asked.on('error', reject)
    const chunk = Buffer.alloc(64 * 1024, 0xff)
    let left = bytes
    const pour = (): void => {
      while (left > 0) {
        left -= chunk.length
        if (!asked.write(chunk)) return void asked.once('drain', pour)
      }
      asked.end()
    }
    pour()
  })
}

/** The most memory that the process ever had in use. */
function peakBytes({ pid }: ServerProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

/** Streams a gibibyte; returns by how much the peak of each process has grown since its warm-up. */
async function growthOf(
  target: Target,
  processes: readonly ServerProcess[],
): Promise<readonly number[]> {
  await upload(target, 64 * mebibyte)
  const before = processes.map(peakBytes)
  received = 0
  expect(await upload(target, gibibyte)).toBe(200)
  expect(received).toBe(gibibyte)
  const growth = processes.map((each, i) => peakBytes(each) - (before[i] ?? 0))
  const texts = growth.map((bytes) => (bytes / mebibyte).toFixed(1))
  process.stdout.write(`grew by ${texts.join(' and ')} MiB\n`)
  return growth
}

test(verifies(
  ['stream:requests@gateway'],
  'a gibibyte passes, and memory grows by 64 MiB at most',
), async () => {
  const [growth] = await growthOf(gateway, [fabric])
  expect(growth).toBeLessThanOrEqual(64 * mebibyte)
}, 300_000)

test(verifies(
  ['stream:requests@mesh'],
  'a gibibyte passes two connectors, and the memory of each grows by 64 MiB at most',
), async () => {
  const [out, into] = await growthOf(connector, [outbound, inbound])
  expect(out).toBeLessThanOrEqual(64 * mebibyte)
  expect(into).toBeLessThanOrEqual(64 * mebibyte)
}, 300_000)

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { request } from 'node:https'
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

let lab: Lab
let receiver: Server
let port = 0
let fabric: ServerProcess
let key = ''
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
    routes: { sink: { streams: { permit: 'request' } } },
  })
  fabric = lab.start()
  port = Number(new URL(String((await fabric.ready())['origin'])).port)
  await lab.command('agent', 'enroll', 'caller')
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
  await vi.waitFor(async () => expect(await upload(mebibyte)).toBe(200), { timeout: 30_000 })
}, 120_000)

afterAll(() => {
  receiver.closeAllConnections()
  receiver.close()
  lab.close()
  rmSync(lab.dir, { recursive: true, force: true })
})

/** Streams so many bytes as fast as they are taken, and gives the status. */
function upload(bytes: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        ...{ host: 'localhost', port, path: '/agents/sink/', method: 'POST' },
        headers: { 'x-api-key': key, 'content-type': 'application/octet-stream' },
        rejectUnauthorized: false,
      },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode))
      },
    )
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

test(verifies(
  ['stream:requests@gateway'],
  'a gibibyte passes, and memory grows by 64 MiB at most',
), async () => {
  await upload(64 * mebibyte)
  const before = peakBytes(fabric)
  received = 0
  expect(await upload(gibibyte)).toBe(200)
  expect(received).toBe(gibibyte)
  const growth = peakBytes(fabric) - before
  process.stdout.write(`grew by ${(growth / mebibyte).toFixed(1)} MiB\n`)
  expect(growth).toBeLessThanOrEqual(64 * mebibyte)
}, 300_000)

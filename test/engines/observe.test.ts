import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Lab, plantSeed, type Seed } from '../faults/lab.ts'
import type { ServerProcess } from '../faults/server-process.ts'

let seed: Seed
let lab: Lab
let fabric: ServerProcess
let connector: ServerProcess
const urls = { fabric: '', connector: '' }

beforeAll(async () => {
  seed = await plantSeed()
  lab = Lab.open(seed)
  fabric = lab.start()
  urls.fabric = String((await fabric.ready())['observeUrl'])
  connector = lab.connect()
  urls.connector = String((await connector.ready())['observeUrl'])
}, 120_000)

afterAll(() => {
  lab.close()
  rmSync(seed.dir, { recursive: true, force: true })
})

const text = async (url: string, accept = ''): Promise<string> =>
  (await fetch(url, { headers: { accept } })).text()

const openMetrics = 'application/openmetrics-text; version=1.0.0'

const parse = `
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(sum(len(family.samples) for family in text_string_to_metric_families(sys.stdin.read())))
`

describe.each(['fabric', 'connector'] as const)('the metrics of a %s', (server) => {
  test('are read by the OpenMetrics parser of Prometheus’ Python client', async () => {
    const input = await text(`${urls[server]}/metrics`, openMetrics)
    const parsed = spawnSync('/usr/bin/python3', ['-c', parse], { input, encoding: 'utf8' })
    expect(parsed.stderr).toBe('')
    expect(Number(parsed.stdout)).toBeGreaterThan(10)
  })

  test('pass promtool', async () => {
    const input = await text(`${urls[server]}/metrics`)
    const checked = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })
    expect({ status: checked.status, says: checked.stdout + checked.stderr }).toEqual({
      status: 0,
      says: '',
    })
  })
})

test('probes answer, and write no entry', async () => {
  const entries = async (): Promise<string | undefined> =>
    /^countersign_ledger_entries (\d+)$/m.exec(await text(`${urls.fabric}/metrics`))?.[1]
  const before = await entries()
  for (let i = 0; i < 50; i++) {
    expect(await text(`${urls.fabric}/healthz`)).toBe('ok\n')
    expect(await text(`${urls.fabric}/readyz`)).toBe('ready\n')
    expect(await text(`${urls.connector}/readyz`)).toBe('ready\n')
  }
  // Measurements are kept for half a second.
  await new Promise((wait) => setTimeout(wait, 600))
  expect(await entries()).toBe(before)
})

test('a command that is carried out is counted', async () => {
  expect(await lab.command('agent', 'list')).toBe(0)
  await vi.waitFor(
    async () => {
      const line = 'countersign_requests_total{transport="gateway",receiver="fabric",result='
      expect(await text(`${urls.fabric}/metrics`)).toContain(line)
    },
    { timeout: 10_000, interval: 600 },
  )
})

const receiver = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    message, fds, _, _ = socket.recv_fds(s, 4096, 8)
    for fd in fds:
        import os; os.close(fd)
    print(message.decode().replace('\\n', ' '), flush=True)
`

/** Receives what systemd would: on a datagram socket, which Node does not have. */
async function openSupervisor(path: string) {
  const child = spawn('/usr/bin/python3', ['-c', receiver, path], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const heard = { text: '' }
  child.stdout.on('data', (bytes) => {
    heard.text += String(bytes)
  })
  await vi.waitFor(() => expect(heard.text).toContain('bound'), { timeout: 20_000 })
  return {
    heard,
    count: (word: string): number => heard.text.split(word).length - 1,
    async close() {
      child.kill('SIGKILL')
      await once(child, 'close')
    },
  }
}

describe('under systemd', () => {
  test('a fabric reports when it is ready, feeds the watchdog, and reports when it stops', async () => {
    const own = Lab.open(seed)
    const socket = own.path('notify')
    const supervisor = await openSupervisor(socket)
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000000' }
    const server = own.start({ env })
    await server.ready()
    const within = { timeout: 30_000, interval: 100 }
    await vi.waitFor(() => expect(supervisor.heard.text).toContain('READY=1'), within)
    expect(supervisor.heard.text).toContain(`MAINPID=${server.pid}`)
    await vi.waitFor(() => expect(supervisor.count('WATCHDOG=1')).toBeGreaterThan(2), within)
    server.signal('SIGTERM')
    await vi.waitFor(() => expect(supervisor.heard.text).toContain('STOPPING=1'), within)
    expect(await server.end()).toBe(0)
    await supervisor.close()
    own.close()
  }, 120_000)

  test('a fabric whose event loop hangs feeds no watchdog any more', async () => {
    const own = Lab.open(seed)
    const socket = own.path('notify')
    const supervisor = await openSupervisor(socket)
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000000' }
    const server = own.start({ env, fault: 'loop' })
    await server.ready()
    const within = { timeout: 30_000, interval: 100 }
    await vi.waitFor(() => expect(supervisor.count('WATCHDOG=1')).toBeGreaterThan(1), within)
    server.signal('SIGUSR2')
    // One that was under way may still arrive.
    await new Promise((wait) => setTimeout(wait, 3_000))
    const fed = supervisor.count('WATCHDOG=1')
    await new Promise((wait) => setTimeout(wait, 3_000))
    expect(supervisor.count('WATCHDOG=1')).toBe(fed)
    // Does what systemd then does.
    server.signal('SIGKILL')
    expect(await server.end()).toBe('SIGKILL')
    await supervisor.close()
    own.close()
  }, 120_000)
})

import { once } from 'node:events'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type ObserveListener, openObserveListener } from './listener.ts'
import { Metrics } from './metrics.ts'
import { Readiness } from './readiness.ts'

const open: ObserveListener[] = []
afterEach(async () => {
  for (const listener of open.splice(0)) await listener.close()
})

async function listening(port = 0, anyPort = false) {
  const metrics = new Metrics()
  metrics.gauge({ name: 'one', help: 'Always one.' }, () => 1)
  const readiness = new Readiness()
  const names = ['metrics.acme.example']
  const options = {
    host: '127.0.0.1',
    port,
    anyPort,
    names,
    readiness,
    metrics,
    monotonic: () => 0,
  }
  const listener = await openObserveListener(options)
  open.push(listener)
  return { listener, readiness, url: listener.url }
}

interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
}

async function ask(url: string, { method = 'GET', headers = {} }: Asked = {}) {
  const out = request(url, { method, headers, agent: false })
  out.end()
  const [response] = await once(out, 'response')
  let body = ''
  for await (const chunk of response) body += String(chunk)
  const type = String(response.headers['content-type'])
  return { status: Number(response.statusCode), type, body }
}

describe('probes', () => {
  test('report that a process lives from its start on, and is ready while it serves', async () => {
    const { url, readiness } = await listening()
    expect((await ask(`${url}/healthz`)).status).toBe(200)
    expect(await ask(`${url}/readyz`)).toMatchObject({
      status: 503,
      body: 'process: it is starting\n',
    })
    readiness.enter('serving')
    expect((await ask(`${url}/readyz`)).status).toBe(200)
    readiness.enter('stopping')
    expect((await ask(`${url}/readyz`)).status).toBe(503)
    expect((await ask(`${url}/healthz`)).status).toBe(200)
  })

  test('name everything that is not ready', async () => {
    const { url, readiness } = await listening()
    readiness.enter('serving')
    let fault: string | null = 'the disk is nearly full'
    readiness.add({ name: 'ledger', fault: () => fault })
    readiness.add({ name: 'certificate', fault: () => 'it has expired' })
    readiness.add({ name: 'state', fault: () => null })
    expect(await ask(`${url}/readyz`)).toMatchObject({
      status: 503,
      body: 'ledger: the disk is nearly full\ncertificate: it has expired\n',
    })
    fault = null
    expect((await ask(`${url}/readyz`)).body).toBe('certificate: it has expired\n')
  })
})

describe('the listener for probes', () => {
  test('writes the format of metrics that is asked for', async () => {
    const { url } = await listening()
    const older = await ask(`${url}/metrics`)
    expect(older.type).toContain('version=0.0.4')
    expect(older.body).toContain('one 1\n')
    const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5'
    const newer = await ask(`${url}/metrics`, { headers: { accept } })
    expect(newer.type).toContain('application/openmetrics-text')
    expect(newer.body.endsWith('# EOF\n')).toBe(true)
  })

  test.each([
    ['another name', 'attacker.example', 421],
    ['another name with its port', 'attacker.example:9464', 421],
    ['an address', '10.0.0.7:9464', 200],
    ['an address of IPv6', '[::1]:9464', 200],
    ['localhost', 'localhost', 200],
    ['a configured name', 'metrics.acme.example:9464', 200],
  ])('answers %s as Host, %s, with %i', async (_, host, status) => {
    const { url } = await listening()
    expect((await ask(`${url}/healthz`, { headers: { host } })).status).toBe(status)
  })

  test('answers reads of three paths, and nothing else', async () => {
    const { url } = await listening()
    expect((await ask(`${url}/healthz`, { method: 'POST' })).status).toBe(405)
    expect((await ask(`${url}/v1/trust`)).status).toBe(404)
    const head = await ask(`${url}/healthz?x=1`, { method: 'HEAD' })
    expect(head).toMatchObject({ status: 200, body: '' })
  })

  test('bounds heads', async () => {
    const { url } = await listening()
    const large = ask(`${url}/healthz`, { headers: { 'x-large': 'x'.repeat(8_000) } })
    await expect(large).rejects.toThrow(/hang up|ECONNRESET/)
  })

  test('answers probes while others hold connections, and come back as soon as they are closed', async () => {
    const { url } = await listening()
    const port = Number(new URL(url).port)
    const held = new Set<Socket>()
    let isOver = false
    let opened = 0
    const hold = (bytes: string): void => {
      if (isOver) return
      const socket = connect(port, '127.0.0.1')
      opened += 1
      held.add(socket)
      socket.on('error', () => undefined).resume()
      socket.once('connect', () => bytes !== '' && socket.write(bytes))
      socket.once('close', () => {
        held.delete(socket)
        setTimeout(() => hold(bytes), 1)
      })
    }
    const whole = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'
    for (let at = 0; at < 210; at++) hold(['', 'GET /he', whole][at % 3] ?? '')
    await expect.poll(() => opened).toBeGreaterThan(400)
    const statuses: number[] = []
    for (let at = 0; at < 20; at++) {
      const { status } = await ask(`${url}/healthz`).catch(() => ({ status: 0 }))
      statuses.push(status)
    }
    isOver = true
    for (const socket of held) socket.destroy()
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(18)
  })

  test('takes a free port only where the usual one was not asked for', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await expect(listening(port)).rejects.toThrow('EADDRINUSE')
    const { listener } = await listening(port, true)
    expect(listener.asAsked).toBe(false)
    expect(new URL(listener.url).port).not.toBe(String(port))
    server.close()
  })
})

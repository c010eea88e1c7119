import { readFileSync } from 'node:fs'
import { Pool } from 'undici'
import { cpuUsOf } from './cpu.ts'
import { type Percentiles, percentiles } from './percentiles.ts'

/** Options of the load generator. Without `perSecond` it sends as fast as responses come back. */
export interface LoadOrder {
  readonly url: string
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly connections: number
  readonly seconds: number
  /** Ends a load without `perSecond` by count instead of by time. */
  readonly requests: number | null
  readonly perSecond: number | null
  /** Processes whose processor time is counted while the load lasts. */
  readonly pids: readonly number[]
  /** The same for processes next to the measured ones. */
  readonly pidsBeside: readonly number[]
}

export interface LoadAnswer extends Percentiles {
  readonly requests: number
  readonly failures: number
  readonly seconds: number
  /** Processor time of `pids` for one request. */
  readonly cpuUs: number
  readonly cpuUsBeside: number
}

/** About 1 KB of typical text between agents, with a card number and an address to be masked. */
const text = 'Please settle invoice 2026-117 for the order of last week. '.repeat(12)
const body = JSON.stringify({
  jsonrpc: '2.0',
  id: 7,
  method: 'SendMessage',
  params: {
    message: {
      messageId: '6f1c',
      role: 'ROLE_USER',
      parts: [{ text: `${text} Card 4111 1111 1111 1111, a.person@mail.example` }],
    },
  },
})

async function load(order: LoadOrder): Promise<LoadAnswer> {
  const { origin, pathname } = new URL(order.url)
  const read = (path: string | null) => (path === null ? {} : readFileSync(path, 'utf8'))
  const pool = new Pool(origin, {
    connections: order.connections,
    pipelining: 1,
    connect: order.ca === null ? {} : { ca: read(order.ca) as string, ...clientOf(order) },
  })
  const latencies: number[] = []
  let failures = 0
  const one = async (): Promise<void> => {
    const started = performance.now()
    const answer = await pool.request({
      method: 'POST',
      path: pathname,
      headers: { 'content-type': 'application/json', 'a2a-version': '1.0', ...order.headers },
      body,
    })
    await answer.body.dump()
    if (answer.statusCode !== 200) failures += 1
    latencies.push(performance.now() - started)
  }
  await openConnections(one, order.connections)
  latencies.length = 0
  failures = 0
  const before = { cpu: cpuUsOf(order.pids), cpuBeside: cpuUsOf(order.pidsBeside) }
  const started = performance.now()
  if (order.perSecond === null) await closedLoop(one, order, started)
  else await openLoop(one, order.perSecond, started + order.seconds * 1000)
  const seconds = (performance.now() - started) / 1000
  const requests = latencies.length
  const cpuUs = (cpuUsOf(order.pids) - before.cpu) / requests
  const cpuUsBeside = (cpuUsOf(order.pidsBeside) - before.cpuBeside) / requests
  await pool.close()
  return { requests, failures, seconds, ...percentiles(latencies), cpuUs, cpuUsBeside }
}

function clientOf({ cert, key }: LoadOrder) {
  if (cert === null || key === null) return {}
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

/** Handshakes are not part of a figure. */
async function openConnections(one: () => Promise<void>, connections: number): Promise<void> {
  await Promise.all(Array.from({ length: connections }, one))
}

async function closedLoop(
  one: () => Promise<void>,
  { connections, requests, seconds }: LoadOrder,
  started: number,
): Promise<void> {
  const until = started + seconds * 1000
  let sent = 0
  const goesOn = () => (requests === null ? performance.now() < until : sent < requests)
  const worker = async () => {
    while (goesOn()) {
      sent++
      await one()
    }
  }
  await Promise.all(Array.from({ length: connections }, worker))
}

/** Requests leave on time whether or not earlier ones came back, so waiting is measured too. */
async function openLoop(one: () => Promise<void>, perSecond: number, until: number): Promise<void> {
  const pending = new Set<Promise<void>>()
  const began = performance.now()
  let sent = 0
  while (performance.now() < until) {
    const due = Math.floor(((performance.now() - began) * perSecond) / 1000)
    for (; sent < due; sent++) {
      const each = one().finally(() => pending.delete(each))
      pending.add(each)
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(pending)
}

process.on('message', (order: LoadOrder) => {
  load(order).then(
    (answer) => process.send?.(answer),
    (cause: unknown) => {
      process.stderr.write(`load: ${String(cause)}\n`)
      process.exit(1)
    },
  )
})
process.on('SIGTERM', () => process.exit(0))
process.send?.({})

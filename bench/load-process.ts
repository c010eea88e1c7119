import { readFileSync } from 'node:fs'
import { Pool } from 'undici'

/** Options of the load generator. Without `perSecond` it sends as fast as responses come back. */
export interface LoadOrder {
  readonly url: string
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly connections: number
  readonly seconds: number
  readonly perSecond: number | null
}

export interface LoadAnswer {
  readonly requests: number
  readonly failures: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
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
  await warm(one, order.connections)
  latencies.length = 0
  failures = 0
  const started = performance.now()
  const until = started + order.seconds * 1000
  if (order.perSecond === null) await closedLoop(one, order.connections, until)
  else await openLoop(one, order.perSecond, until)
  const seconds = (performance.now() - started) / 1000
  await pool.close()
  latencies.sort((a, b) => a - b)
  const at = (part: number) => latencies[Math.floor(latencies.length * part)] ?? 0
  return { requests: latencies.length, failures, seconds, p50Ms: at(0.5), p99Ms: at(0.99) }
}

function clientOf({ cert, key }: LoadOrder) {
  if (cert === null || key === null) return {}
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

async function warm(one: () => Promise<void>, connections: number): Promise<void> {
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (let i = 0; i < 25; i++) await one()
    }),
  )
}

async function closedLoop(one: () => Promise<void>, workers: number, until: number): Promise<void> {
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (performance.now() < until) await one()
    }),
  )
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

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isIP, type Socket } from 'node:net'
import type { Metrics } from './metrics.ts'
import type { Readiness } from './readiness.ts'

export interface ObserveListenerOptions {
  readonly host: string
  readonly port: number
  /** True if a free port will do when the port is taken. */
  readonly anyPort: boolean
  /** Further names by which monitoring systems call this listener; addresses need none. */
  readonly names: readonly string[]
  readonly readiness: Readiness
  readonly metrics: Metrics
  monotonic(): number
}

export interface ObserveListener {
  /** `http://host:port`. */
  readonly url: string
  /** True if it listens at the address that was requested. */
  readonly asAsked: boolean
  close(): Promise<void>
}

/** A monitoring system and a supervisor need few connections, and heads of a line or ten. */
const connectionsMax = 64
const headBytesMax = 4 * 1024
const timeoutMs = 5_000
/** A probe sends its head at once; one that dribbles is not waited for. */
const headMs = 1_000
/** However many ask, the process is measured this often at most. */
const metricsEveryMs = 500

const openMetricsType = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
const prometheusType = 'text/plain; version=0.0.4; charset=utf-8'

/**
 * `/healthz`, `/readyz` and `/metrics` over plain HTTP, on a listener of their own: a flood on the
 * gateway does not keep a supervisor out, and nothing here leads to the gateway. They read memory
 * only; no entry is written and no credential exists here.
 */
export async function openObserveListener(
  options: ObserveListenerOptions,
): Promise<ObserveListener> {
  const text = metricsText(options)
  const server = createServer({
    maxHeaderSize: headBytesMax,
    headersTimeout: headMs,
    requestTimeout: timeoutMs,
    keepAliveTimeout: timeoutMs,
    connectionsCheckingInterval: headMs,
  })
  boundConnections(server)
  server.on('request', (request, response) => {
    answer(request, { options, text })
      .then((reply) => write(request, response, reply))
      .catch(() => response.destroy())
  })
  server.on('clientError', (_, socket) => socket.destroy())
  const asAsked = await listen(server, options)
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : options.port
  const host = isIP(options.host) === 6 ? `[${options.host}]` : options.host
  return {
    url: `http://${host}:${port}`,
    asAsked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/**
 * A new connection takes the place of the one that has been silent longest, so that no number of
 * connections that ask nothing keeps a probe out: a probe asks as soon as it is connected.
 */
function boundConnections(server: Server): void {
  // In the order in which they fell silent; who is being answered is not among them.
  const silent = new Set<Socket>()
  let open = 0
  server.on('connection', (socket) => {
    const [longest] = silent
    if (open >= connectionsMax) (longest ?? socket).destroy()
    if (socket.destroyed) return
    open += 1
    silent.add(socket)
    socket.once('close', () => {
      open -= 1
      silent.delete(socket)
    })
    // A response whose reader is gone or stalls.
    socket.setTimeout(timeoutMs, () => socket.destroy())
  })
  server.on('request', ({ socket }, response) => {
    silent.delete(socket)
    response.once('close', () => {
      if (!socket.destroyed) silent.add(socket)
    })
  })
}

/** False when another port had to do. */
async function listen(server: Server, { host, port, anyPort }: ObserveListenerOptions) {
  const on = (asked: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(asked, host, () => {
        server.off('error', reject)
        // A connection that could not be accepted must not end the process.
        server.on('error', () => undefined)
        resolve()
      })
    })
  try {
    await on(port)
    return true
  } catch (error) {
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    if (!isTaken || !anyPort) throw error
    await on(0)
    return false
  }
}

interface Reply {
  readonly status: number
  readonly type: string
  readonly body: string
}

interface Asked {
  readonly options: ObserveListenerOptions
  readonly text: (format: 'openmetrics' | 'prometheus') => Promise<string>
}

const plain = (status: number, body: string): Reply => ({
  status,
  type: 'text/plain; charset=utf-8',
  body,
})

async function answer(request: IncomingMessage, { options, text }: Asked): Promise<Reply> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return plain(405, 'GET or HEAD\n')
  if (!isKnownHost(request.headers.host ?? '', options)) return plain(421, 'unknown Host\n')
  const [path = ''] = (request.url ?? '').split('?', 1)
  switch (path) {
    case '/healthz':
      // The event loop turned; what else there is to know is the business of /readyz.
      return plain(200, 'ok\n')
    case '/readyz': {
      const faults = options.readiness.faults()
      if (faults.length === 0) return plain(200, 'ready\n')
      return plain(503, faults.map(({ name, fault }) => `${name}: ${fault}\n`).join(''))
    }
    case '/metrics': {
      const open = (request.headers.accept ?? '').includes('application/openmetrics-text')
      const type = open ? openMetricsType : prometheusType
      return { status: 200, type, body: await text(open ? 'openmetrics' : 'prometheus') }
    }
    default:
      return plain(404, '/healthz, /readyz or /metrics\n')
  }
}

/**
 * A web page can make a name of its own resolve to this address (DNS rebinding), but it cannot make
 * a browser send an address that it did not ask for.
 */
function isKnownHost(field: string, { host, names }: ObserveListenerOptions): boolean {
  const name = field.replace(/:\d{1,5}$/, '').toLowerCase()
  const bare = name.startsWith('[') ? name.slice(1, -1) : name
  return isIP(bare) !== 0 || bare === 'localhost' || bare === host || names.includes(bare)
}

function write(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  const { status, type, body } = reply
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // A body is never read.
    ...(request.headers['content-length'] === undefined &&
    request.headers['transfer-encoding'] === undefined
      ? {}
      : { connection: 'close' }),
  })
  response.end(request.method === 'HEAD' ? '' : body)
}

/** One text for everyone who asks within a moment. */
function metricsText({ metrics, monotonic }: ObserveListenerOptions): Asked['text'] {
  const kept = new Map<string, { readonly until: number; readonly text: Promise<string> }>()
  return (format) => {
    const now = monotonic()
    const known = kept.get(format)
    if (known !== undefined && now < known.until) return known.text
    const text = metrics.format(format)
    kept.set(format, { until: now + metricsEveryMs, text })
    return text
  }
}

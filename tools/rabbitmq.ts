import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** The package's `sbin` wrapper insists on its own user; this is what it starts. */
const launcher = '/usr/lib/rabbitmq/bin/rabbitmq-server'
const startMsMax = 60_000
const stopMsMax = 20_000
const pollMs = 100

export interface RabbitMq {
  /** Loopback only, with the server's default account. */
  readonly url: string
  /** Ends the server and the name daemon it brought, and removes what they wrote. */
  stop(): Promise<void>
}

/**
 * Returns whether a server could be started here: `apt-get install --no-install-recommends
 * rabbitmq-server`.
 */
export const hasRabbitMq = (): boolean => existsSync(launcher)

/**
 * Starts a server of its own, on free ports and in a folder of its own, and resolves once it
 * accepts connections. Rejects, and leaves nothing behind, when it does not start in time.
 */
export async function startRabbitMq(): Promise<RabbitMq> {
  const folder = mkdtempSync(path.join(tmpdir(), 'countersign-rabbitmq-'))
  const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()]
  writeFileSync(path.join(folder, 'plugins'), '[].\n')
  writeFileSync(path.join(folder, 'rabbitmq.conf'), '')
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    ...settings(folder, { port, distPort, epmdPort }),
  }
  // Without detaching, an interrupt of the terminal would end it before `stop` can.
  const server = spawn(launcher, [], { cwd: folder, env, stdio: 'ignore', detached: true })
  const stop = async (): Promise<void> => {
    await end(server)
    await endNameDaemon(env)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await untilReady(server, port)
  } catch (cause) {
    await stop()
    throw new Error('RabbitMQ did not start', { cause })
  }
  return { url: `amqp://guest:guest@127.0.0.1:${port}`, stop }
}

interface Ports {
  readonly port: number
  readonly distPort: number
  readonly epmdPort: number
}

function settings(folder: string, { port, distPort, epmdPort }: Ports): Record<string, string> {
  const under = (name: string): string => path.join(folder, name)
  return {
    RABBITMQ_NODENAME: `countersign${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: under('mnesia'),
    RABBITMQ_LOG_BASE: under('log'),
    RABBITMQ_PID_FILE: under('pid'),
    RABBITMQ_CONFIG_FILE: under('rabbitmq'),
    RABBITMQ_ENABLED_PLUGINS_FILE: under('plugins'),
    // The machine's own settings must not leak in.
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(epmdPort),
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}

async function untilReady(server: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + startMsMax
  while (performance.now() < deadline) {
    if (server.exitCode !== null) throw new Error(`it ended with code ${server.exitCode}`)
    if (await speaksAmqp(port)) return
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
  throw new Error(`it was not ready after ${startMsMax} ms`)
}

/** The port opens before the server can serve; an answer to the protocol's header is the proof. */
function speaksAmqp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('AMQP\u0000\u0000\u0009\u0001'))
    const done = (ready: boolean) => {
      socket.destroy()
      resolve(ready)
    }
    socket.once('data', () => done(true))
    socket.once('error', () => done(false))
    socket.once('close', () => resolve(false))
    socket.setTimeout(1_000, () => done(false))
  })
}

async function end(server: ChildProcess): Promise<void> {
  if (server.pid === undefined || server.exitCode !== null || server.signalCode !== null) return
  const group = -server.pid
  const ended = new Promise((resolve) => server.once('exit', resolve))
  process.kill(group, 'SIGTERM')
  const forced = setTimeout(() => process.kill(group, 'SIGKILL'), stopMsMax)
  await ended
  clearTimeout(forced)
}

/** The daemon leaves the server's group; it is asked by its port, so no other one is touched. */
async function endNameDaemon(env: NodeJS.ProcessEnv): Promise<void> {
  const asked = spawn('epmd', ['-kill'], { env, stdio: 'ignore' })
  await new Promise((resolve) => asked.once('close', resolve).once('error', resolve))
}

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, globSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { delimiter, join } from 'node:path'

/** A server of another project, as a child of the bench. */
export interface Program {
  /** The program and its workers. */
  readonly pids: readonly number[]
  stop(): Promise<void>
}

export interface ProgramOrder {
  readonly path: string
  readonly args: readonly string[]
  /** Loopback; the program is ready once it accepts a connection there. */
  readonly port: number
  /** Receives standard output and standard error, which is where some programs log requests. */
  readonly logFile: string
}

const startMsMax = 10_000
const stopMsMax = 5_000
const pollMs = 50

/**
 * Returns the path of a program, or null where it is not installed: in `PATH`, or in a Python wheel
 * below `.engines` of the checkout, at `inWheel`.
 */
export function findProgram(name: string, inWheel?: string): string | null {
  const inPath = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name))
  // Packages of Debian put servers where the PATH of an ordinary account does not look.
  const candidates = [...inPath, join('/usr/sbin', name), ...wheels(inWheel)]
  return candidates.find((path) => existsSync(path)) ?? null
}

function wheels(inWheel: string | undefined): readonly string[] {
  if (inWheel === undefined) return []
  const engines = new URL('../../.engines/', import.meta.url).pathname
  return globSync(`${engines}lib/*/site-packages/${inWheel}`)
}

/** Rejects, with the end of its log, if the program does not listen in time. */
export async function startProgram(order: ProgramOrder): Promise<Program> {
  const log = openSync(order.logFile, 'a')
  const child = spawn(order.path, order.args, { stdio: ['ignore', log, log] })
  closeSync(log)
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  try {
    await Promise.race([failed, untilListening(child, order.port)])
  } catch (cause) {
    await end(child)
    const said = readFileSync(order.logFile, 'utf8').slice(-2_000)
    throw new Error(`${order.path} did not start: ${said}`, { cause })
  }
  return { pids: familyOf(child.pid ?? 0), stop: () => end(child) }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}

async function untilListening(child: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + startMsMax
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`it ended with code ${child.exitCode}`)
    if (await accepts(port)) return
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
  throw new Error(`nothing listens on port ${port} after ${startMsMax} ms`)
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })
}

function familyOf(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return [pid, ...children.trim().split(/\s+/).filter(Boolean).map(Number)]
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const forced = setTimeout(() => child.kill('SIGKILL'), stopMsMax)
  await ended
  clearTimeout(forced)
}

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { expect, inject, vi } from 'vitest'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { ServerProcess } from '../faults/server-process.ts'
import { deadline } from './deadline.ts'
import { type Door, send } from './doors.ts'
import { type Echo, openEcho } from './echo.ts'
import { RECEIVERS } from './policies.ts'
import { type Admin, putPolicies } from './world.ts'

/** The data folder of each replica, and the settings that they share. */
export interface ReplicaPlan {
  readonly folders: readonly [string, string]
  /** Further lines of `countersign.yaml`. */
  readonly config?: object
  /** In place of `config`, for the second replica. */
  readonly configOfTwo?: object
  readonly env?: Readonly<Record<string, string>>
}

/** A process of `countersign up`, which can be ended and started again. */
export interface Replica {
  readonly door: Door
  /** An administrative operation by this process, as the operator of its data folder. */
  readonly admin: Admin
  origin(): string
  process(): ServerProcess
  /** Ends the process by `signal` and starts it again, on another port. */
  restart(signal: NodeJS.Signals): Promise<void>
  /** Stops the process by SIGSTOP; resolves when the operating system has done so. */
  pause(): Promise<void>
  /** Continues it by SIGCONT. */
  resume(): void
  /** Ends the process in order. */
  stop(): Promise<void>
  start(): Promise<void>
}

export interface Replicas {
  /** The folder of both data folders. */
  readonly dir: string
  readonly one: Replica
  readonly two: Replica
  readonly echo: Echo
  readonly caller: Identity
  /** Enrols an agent with one of the processes. */
  enrol(at: Replica, name: string, roles: readonly string[]): Promise<Identity>
  /** A command on the data folder of a replica: its exit code and everything it prints. */
  command(folder: 0 | 1, ...words: readonly string[]): Promise<{ exit: number; text: string }>
  close(): Promise<void>
}

/** Two processes of one fabric, with receivers and a caller that enrolled with the first. */
export async function openReplicas(plan: ReplicaPlan): Promise<Replicas> {
  const { folders, config = {}, configOfTwo = config, env = {} } = plan
  const dir = mkdtempSync(join(inject('worldsDir'), 'replicas-'))
  const fileOf = (folder: 0 | 1): string => join(dir, `countersign-${folder}.yaml`)
  for (const [folder, own] of [config, configOfTwo].entries()) {
    writeFileSync(
      fileOf(folder as 0 | 1),
      JSON.stringify({
        observe: { enabled: false },
        masterKey: { from: 'key-file', path: join(dir, 'master.key') },
        limits: { requestsPerMinute: 100_000, refusalsPerMinute: 100_000 },
        ...own,
      }),
    )
  }
  const place = (folder: 0 | 1) => [
    '--config',
    fileOf(folder),
    '--data',
    join(dir, folders[folder]),
  ]
  const people: Identity[] = []
  let caller: Identity | null = null
  const open = (folder: 0 | 1): Replica => {
    const words = ['up', '--replica', '--port', '0', '--json', ...place(folder)]
    const operator = join(dir, folders[folder], 'operator')
    return openReplica({ start: () => new ServerProcess({ words, env }), operator }, () => {
      if (caller === null) throw new Error('the caller is not enrolled yet')
      return caller.credential()
    })
  }
  const [one, two] = [open(0), open(1)]
  const echo = await openEcho()
  const enrol: Replicas['enrol'] = async (at, name, roles) => {
    const order = { name, kind: 'agent', roles, segment: '', attributes: {}, ttlSeconds: 900 }
    const { join: invitation } = (await at.admin('agent.enroll', order)) as { join: string }
    const options = { dir: join(dir, name), clock: systemClock, onFault: () => undefined }
    const identity = await openIdentity({ ...options, join: invitation })
    people.push(identity)
    return identity
  }
  await one.start()
  await two.start()
  await putPolicies(one.admin)
  caller = await enrol(one, 'caller', ['caller'])
  for (const name of ['echo', 'a2a', 'mcp'] as const) {
    const { role, protocol } = RECEIVERS[name]
    await enrol(one, name, [role])
    await one.admin('route.put', { name, upstream: echo.url, protocol })
  }
  return {
    ...{ dir, one, two, echo, caller, enrol },
    async command(folder, ...words) {
      let text = ''
      const screen = {
        write: (part: string | Uint8Array) => {
          text += typeof part === 'string' ? part : Buffer.from(part).toString('utf8')
        },
      }
      const streams = { stdout: screen, stderr: screen }
      return { exit: await run([...words, ...place(folder)], streams), text }
    },
    async close() {
      for (const identity of people) identity.close()
      for (const replica of [one, two]) replica.process().signal('SIGKILL')
      await Promise.all([one, two].map((replica) => replica.process().ended))
      await echo.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/**
 * Waits until both processes decide by what the first has stored: the second compiles the policies
 * in its own time, and denies until then.
 */
export async function untilServed({ one, two }: Pick<Replicas, 'one' | 'two'>): Promise<void> {
  for (const { door } of [one, two]) {
    await vi.waitFor(async () => {
      expect((await send(door, { to: 'echo' })).status).toBe(200)
    }, deadline)
  }
}

/** Reads it from the process table of Linux. */
function isStopped(pid: number): boolean {
  return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
}

interface Parts {
  readonly start: () => ServerProcess
  /** The folder of the operator that the process enrols. */
  readonly operator: string
}

function openReplica({ start, operator }: Parts, credential: Door['credential']): Replica {
  let server: ServerProcess | null = null
  let origin = ''
  const process = (): ServerProcess => {
    if (server === null) throw new Error('the replica was not started')
    return server
  }
  const replica: Replica = {
    origin: () => origin,
    process,
    door: {
      ...{ transport: 'gateway', credential },
      place: async (to, path) => {
        const { host: authority, port } = new URL(origin)
        return { authority, port: Number(port), path: `/agents/${to}${path}` }
      },
    },
    async admin(operation, args = {}) {
      const options = { dir: operator, url: origin, clock: systemClock, onFault: () => undefined }
      const identity = await openIdentity({ ...options, join: undefined })
      const request = { method: 'POST', path: '/v1/admin', value: { operation, args } } as const
      const answer = await askControl(identity.connection, request).finally(() => identity.close())
      return (answer as { result: unknown }).result
    },
    async start() {
      server = start()
      origin = String((await server.ready())['origin'])
    },
    async pause() {
      process().signal('SIGSTOP')
      await vi.waitFor(() => expect(isStopped(process().pid)).toBe(true), deadline)
    },
    resume: () => process().signal('SIGCONT'),
    async stop() {
      process().signal('SIGTERM')
      await process().end()
    },
    async restart(signal) {
      process().signal(signal)
      await process().end()
      await replica.start()
    },
  }
  return replica
}

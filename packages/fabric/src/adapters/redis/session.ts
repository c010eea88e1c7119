import { type Client, type LoadModule, loadRedisClient } from './client.ts'

/** A server of Redis or Valkey, as the configuration names it. */
export interface RedisTarget {
  readonly host: string
  readonly port: number
  readonly database: number
  /** Null for the default user. */
  readonly user: string | null
  /** Asked for each connection, so that a new password counts from the next one. Null for none. */
  password(): Promise<string | null>
  /** Null where the server is on this machine. `ca`: PEM, or null for those of the system. */
  readonly tls: { readonly ca: string | null } | null
  readonly load?: LoadModule
}

/** Times and sizes that bound the traffic with the server. */
export interface RedisBounds {
  readonly connectMs: number
  /** Of one command, from when it is sent. A connection that is slower is given up. */
  readonly commandMs: number
  /** Commands without an answer; further ones are refused. */
  readonly pendingMax: number
  /** Between two looks at the server, and before a connection is tried again. */
  readonly checkMs: number
  /** After the last good look, nothing is claimed any more. */
  readonly staleMs: number
}

export const REDIS_BOUNDS: RedisBounds = {
  connectMs: 2_000,
  commandMs: 1_000,
  pendingMax: 10_000,
  checkMs: 1_000,
  staleMs: 5_000,
}

/** One connection. It is broken for good by the first answer that does not come in time. */
export interface Session {
  readonly isBroken: boolean
  /** Rejects with the server's error; with any other error the session is broken. */
  send(args: readonly string[]): Promise<unknown>
  destroy(): void
}

/** Connects, or rejects with a message that names the server and never the password. */
export async function openSession(target: RedisTarget, bounds: RedisBounds): Promise<Session> {
  const { createClient } = await loadRedisClient(target.load)
  const client = createClient(await clientOptions(target, bounds))
  const session = new OpenSession(client, bounds)
  try {
    await session.inTime(client.connect(), bounds.connectMs)
    return session
  } catch (cause) {
    session.destroy()
    throw cause
  }
}

async function clientOptions(target: RedisTarget, { connectMs, pendingMax }: RedisBounds) {
  const { host, port, database, user, tls } = target
  const password = await target.password()
  // The whole certificate is verified, with the name or the address.
  const secure = { tls: true, minVersion: 'TLSv1.2', ...caOf(tls?.ca ?? null) }
  return {
    socket: {
      ...{ host, port, connectTimeout: connectMs },
      ...(tls === null ? {} : secure),
      // A new connection may lead to another server, which has to be looked at before it is used.
      reconnectStrategy: false,
    },
    ...{ database, RESP: 2, name: 'countersign', disableOfflineQueue: true },
    ...(user === null ? {} : { username: user }),
    ...(password === null ? {} : { password }),
    ...{ commandsQueueMaxLength: pendingMax, maintNotifications: 'disabled' },
    disableClientInfo: true,
  }
}

const caOf = (ca: string | null): { readonly ca?: string } => (ca === null ? {} : { ca })

class OpenSession implements Session {
  readonly #client: Client
  readonly #bounds: RedisBounds
  #pending = 0
  #isBroken = false

  constructor(client: Client, bounds: RedisBounds) {
    this.#client = client
    this.#bounds = bounds
    // Without listeners, an error of an idle connection would end the process.
    client.on('error', () => this.destroy())
    client.on('end', () => this.destroy())
  }

  get isBroken(): boolean {
    return this.#isBroken
  }

  async send(args: readonly string[]): Promise<unknown> {
    if (this.#isBroken) throw new Error('the connection has ended')
    if (this.#pending >= this.#bounds.pendingMax) {
      throw new Error(`${this.#pending} commands wait for an answer`)
    }
    this.#pending += 1
    try {
      return await this.inTime(this.#client.sendCommand(args), this.#bounds.commandMs)
    } finally {
      this.#pending -= 1
    }
  }

  async inTime<T>(answer: Promise<T>, ms: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // The answer may still come, and would be taken for that of the next command.
        this.destroy()
        reject(new Error(`no answer within ${ms} ms`))
      }, ms)
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      clearTimeout(timer)
    }
  }

  destroy(): void {
    if (this.#isBroken) return
    this.#isBroken = true
    try {
      this.#client.destroy()
    } catch {
      // It was closed already.
    }
  }
}

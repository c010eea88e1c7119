import { once } from 'node:events'
import { connect } from 'node:tls'
import { afterAll, describe, test } from 'vitest'
import type { Transport } from '../requirements.ts'
import { openWorld, type World } from './world.ts'

/** Runs the attack in a world, and fails when it succeeds. */
export type Attempt = (world: World) => Promise<void>

/** The runs of an attack on each transport, or the reason why it does not apply there. */
export type Attempts = Readonly<
  Record<Transport, Attempt | Readonly<Record<string, Attempt>> | string>
>

/**
 * One attack, on every transport to which it applies. `promise` is what the attacker tries, with
 * the promises that withstand it; a transport to which the attack does not apply states the reason.
 */
export function attack(promise: string, attempts: Attempts): void {
  describe(promise, () => {
    for (const [transport, attempt] of Object.entries(attempts)) {
      if (typeof attempt === 'string') continue
      if (typeof attempt === 'function') {
        test(`on the ${transport}`, () => inSharedWorld(attempt))
        continue
      }
      for (const [way, each] of Object.entries(attempt)) {
        test(`on the ${transport}: ${way}`, () => inSharedWorld(each))
      }
    }
  })
}

/** An attempt that went far into the future may leave a certificate behind that is not good yet. */
async function inSharedWorld(attempt: Attempt): Promise<void> {
  const world = await sharedWorld()
  await attempt(world)
  world.checkEntries()
  if (!world.clock.wentFar) return
  world.clock.wentFar = false
  if (await isOfNow(world.fabric)) return
  shared[place] = undefined
  await world.close()
}

async function isOfNow({ port }: { readonly port: number }): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { valid_from: from } = socket.getPeerCertificate()
  socket.destroy()
  return Date.parse(from) <= Date.now()
}

const place = Symbol.for('countersign.test.world')
const shared = globalThis as { [place]?: Promise<World> | undefined }

/**
 * The world of this worker process: opened with the first attack, and closed by the end of the
 * process, since opening one costs more than most attacks. A test that spoils something in it (an
 * agent's status, an allowance) does so under a name of its own.
 */
export function sharedWorld(): Promise<World> {
  shared[place] ??= openWorld()
  return shared[place]
}

/**
 * A world of one file, opened with its first attempt: for attacks that would spoil the shared one
 * and not one another, as each of them uses names of its own.
 */
export function worldOfFile(
  options: Parameters<typeof openWorld>[0],
): (attempt: Attempt) => Promise<void> {
  let own: Promise<World> | null = null
  afterAll(async () => (await own)?.close())
  return async (attempt) => {
    own ??= openWorld(options)
    const world = await own
    await attempt(world)
    world.checkEntries()
  }
}

/**
 * Attempts that wait for most of their time: all of them begin with the first. Each keeps to what
 * is its own, as they go on at the same time.
 */
export function atOnce<Name extends string>(
  attempts: Readonly<Record<Name, Attempt>>,
): Readonly<Record<Name, Attempt>> {
  const begun = new Map<string, Promise<void>>()
  const begin = (world: World): void => {
    for (const [name, attempt] of Object.entries<Attempt>(attempts)) {
      const running = attempt(world)
      // Its own test fails by it, and may come later.
      running.catch(() => undefined)
      begun.set(name, running)
    }
  }
  const names = Object.keys(attempts) as Name[]
  const joined = names.map((name): [Name, Attempt] => [
    name,
    async (world) => {
      if (begun.size === 0) begin(world)
      await begun.get(name)
    },
  ])
  return Object.fromEntries(joined) as Record<Name, Attempt>
}

let names = 0

/** Returns a name that is unused in every world of this process. */
export function newName(role: string): string {
  return `${role}-${names++}`
}

/** Runs `attempt` in a world of its own, for attacks that would spoil the shared one. */
export async function inOwnWorld(
  options: Parameters<typeof openWorld>[0],
  attempt: Attempt,
): Promise<void> {
  const world = await openWorld(options)
  try {
    await attempt(world)
  } finally {
    await world.close()
  }
}

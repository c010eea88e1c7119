import { once } from 'node:events'
import { connect } from 'node:tls'
import { afterAll, describe, test } from 'vitest'
import type { Transport } from '../requirements.ts'
import { openWorld, type World } from './world.ts'

/** Runs the attack in a world, and fails when it succeeds. */
export type Telling = (world: World) => Promise<void>

/** The runs of an attack on each transport, or the reason why it does not apply there. */
export type Told = Readonly<Record<Transport, Telling | Readonly<Record<string, Telling>> | string>>

/**
 * One attack, on every transport to which it applies. `promise` is what the attacker tries, with
 * the promises that withstand it; a transport to which the attack does not apply states the reason.
 */
export function lie(promise: string, told: Told): void {
  describe(promise, () => {
    for (const [transport, telling] of Object.entries(told)) {
      if (typeof telling === 'string') continue
      if (typeof telling === 'function') {
        test(`on the ${transport}`, () => inSharedWorld(telling))
        continue
      }
      for (const [way, each] of Object.entries(telling)) {
        test(`on the ${transport}: ${way}`, () => inSharedWorld(each))
      }
    }
  })
}

/** A scene that went far into the future may leave a certificate behind that is not good yet. */
async function inSharedWorld(scene: Telling): Promise<void> {
  const world = await sharedWorld()
  await scene(world)
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
 * A world of one file, opened with its first scene: for lies that would spoil the shared one and
 * not one another, as each of them uses names of its own.
 */
export function worldOfFile(
  options: Parameters<typeof openWorld>[0],
): (scene: Telling) => Promise<void> {
  let own: Promise<World> | null = null
  afterAll(async () => (await own)?.close())
  return async (scene) => {
    own ??= openWorld(options)
    const world = await own
    await scene(world)
    world.checkEntries()
  }
}

/**
 * Scenes of which most of the time goes by in waiting: all of them begin with the first. Each keeps
 * to what is its own, as they go on at the same time.
 */
export function atOnce<Name extends string>(
  scenes: Readonly<Record<Name, Telling>>,
): Readonly<Record<Name, Telling>> {
  const begun = new Map<string, Promise<void>>()
  const begin = (world: World): void => {
    for (const [name, scene] of Object.entries<Telling>(scenes)) {
      const telling = scene(world)
      // Its own test fails by it, and may come later.
      telling.catch(() => undefined)
      begun.set(name, telling)
    }
  }
  const names = Object.keys(scenes) as Name[]
  const tellings = names.map((name): [Name, Telling] => [
    name,
    async (world) => {
      if (begun.size === 0) begin(world)
      await begun.get(name)
    },
  ])
  return Object.fromEntries(tellings) as Record<Name, Telling>
}

let names = 0

/** Returns a name that is unused in every world of this process. */
export function newName(role: string): string {
  return `${role}-${names++}`
}

/** Runs `scene` in a world of its own, for lies that would spoil the shared one. */
export async function inOwnWorld(
  options: Parameters<typeof openWorld>[0],
  scene: Telling,
): Promise<void> {
  const world = await openWorld(options)
  try {
    await scene(world)
  } finally {
    await world.close()
  }
}

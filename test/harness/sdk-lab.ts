import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import {
  type Agent,
  AgentError,
  type AgentHandler,
  type NodeListener,
  openAgent,
  RefusedError,
  type ServeOptions,
} from '../../packages/sdk/src/index.ts'
import { hourMs } from './sdk-authority.ts'
import { type Deviations, TestFabric } from './sdk-fabric.ts'

/** A small fabric with two agents, which the tests of one file share. */
interface Shared {
  readonly fabric: TestFabric
  readonly base: string
  readonly caller: Agent
  readonly callee: Agent
}

/**
 * Opens a fabric and two agents for the tests of one file, since making keys and certificates is
 * most of their cost, and resets the fabric before each test.
 */
export function sdkLab() {
  let shared: Shared | null = null
  const current = (): Shared => {
    if (shared === null) throw new Error('the lab is open while tests run')
    return shared
  }
  /** Closed after each test. */
  const open: { close(): Promise<void> }[] = []

  beforeAll(async () => {
    shared = await openShared()
  })
  afterAll(async () => {
    const { fabric, base, caller, callee } = current()
    await Promise.all([caller.close(), callee.close()])
    await fabric.stop()
    await rm(base, { recursive: true, force: true })
  })
  beforeEach(() => reset(current().fabric))
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()))
  })

  const serving = async (handler: AgentHandler, options?: ServeOptions) => {
    const served = await current().callee.serve(handler, options)
    open.push(served)
    return served
  }
  return {
    open,
    serving,
    get fabric() {
      return current().fabric
    },
    /** A folder of this file's own. */
    get base() {
      return current().base
    },
    get caller() {
      return current().caller
    },
    get callee() {
      return current().callee
    },
    async servingNode(listener: NodeListener, options?: ServeOptions) {
      open.push(await current().callee.serveNode(listener, options))
    },
    /** Makes the callee answer with the request that it received, and its sender. */
    echo: () =>
      serving(async ({ request, from, exchange, signed }) => {
        const { pathname } = new URL(request.url)
        const echo = await request.text()
        return Response.json({ echo, path: pathname, from, exchange, signed })
      }),
    /** A further agent with a name, a directory and keys of its own. */
    async agentNamed(name: string, more: Partial<Parameters<typeof openAgent>[0]> = {}) {
      const { fabric, base } = current()
      const dir = path.join(base, `${name}-${randomBytes(4).toString('hex')}`)
      const agent = await openAgent({ join: fabric.join(name), dir, ...more })
      open.push(agent)
      const stored = JSON.parse(await readFile(path.join(dir, 'agent.json'), 'utf8'))
      fabric.sealingKeyIds.set(name, stored.granted.sealingKeyId)
      return { agent, dir, stored }
    },
  }
}

async function openShared(): Promise<Shared> {
  const fabric = await TestFabric.start()
  const base = await mkdtemp(path.join(tmpdir(), 'countersign-sdk-'))
  const [caller, callee] = [
    await openAgent({ join: fabric.join('invoice'), dir: path.join(base, 'shared-invoice') }),
    await openAgent({ join: fabric.join('pay'), dir: path.join(base, 'shared-pay') }),
  ]
  return { fabric, base, caller, callee }
}

function reset(fabric: TestFabric): void {
  for (const name of Object.keys(fabric.deviations)) {
    delete fabric.deviations[name as keyof Deviations]
  }
  fabric.lifetimeMs = hourMs
  fabric.enrolments = 0
  fabric.renewals = 0
  fabric.refusals.length = 0
  fabric.timeouts.length = 0
  fabric.responses.length = 0
}

/** The code of the error with which `made` rejects; throws any error that has none. */
export async function faultOf(made: Promise<unknown>): Promise<string> {
  const error: unknown = await made.then(
    () => null,
    (cause: unknown) => cause,
  )
  if (error instanceof AgentError || error instanceof RefusedError) return error.code
  throw error instanceof Error ? error : new Error('it did not fail')
}

import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openIdentity } from '@countersign/sdk'
import { type AgentProcess, startAgentProcess } from './agent-process.ts'
import type { BillingCommands } from './billing-agent.ts'
import { AGENTS, DEMO_POLICY, DEMO_POLICY_FILE } from './demo-policy.ts'
import type { DemoClock, DemoConnector, DemoDeps, Operator } from './deps.ts'
import type { RecordsCommands } from './records-agent.ts'
import type { SupportCommands } from './support-agent.ts'
import { within } from './within.ts'

export type SetupDeps = Pick<
  DemoDeps,
  'origin' | 'dataDir' | 'operator' | 'openConnector' | 'clock'
>

/** The three agents, ready, and the environment that the steps run in. */
export interface Setup {
  readonly origin: string
  readonly dataDir: string
  readonly operator: Operator
  readonly clock: DemoClock
  readonly support: AgentProcess<SupportCommands>
  /** The present process of billing, which a step stops and starts again. */
  readonly billing: AgentProcess<BillingCommands>
  readonly records: AgentProcess<RecordsCommands>
  /** Starts billing's process anew, with the identity that it enrolled before. */
  restartBilling(): Promise<void>
  /** The URL at which support calls others by name, without a credential of its own. */
  readonly supportUrl: string
  /** Process ids by the names of the agents, as they were first started. */
  readonly processes: Readonly<Record<string, number>>
  /** Ends every process that the demo started; the agents stay enrolled. */
  close(): Promise<void>
}

/** Bounds everything before the first step, on a machine that is busy. */
const openingMsMax = 120_000

/** Installs the demo's policies, enrols its agents, starts their processes and connectors. */
export async function openSetup(deps: SetupDeps): Promise<Setup> {
  const cleanup = new Cleanup()
  try {
    return await within(setUp(deps, cleanup), openingMsMax, 'the agents did not get ready')
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

async function setUp(deps: SetupDeps, cleanup: Cleanup): Promise<Setup> {
  const { origin, dataDir, operator, clock } = deps
  const startBilling = () =>
    startAgentProcess<BillingCommands>(AGENTS.billing, agentFile('billing-agent'))
  const support = startAgentProcess<SupportCommands>(AGENTS.support, agentFile('support-agent'))
  const records = startAgentProcess<RecordsCommands>(AGENTS.records, agentFile('records-agent'))
  let billing = startBilling()
  cleanup.add(async () => {
    await Promise.all([support.stop(), billing.stop(), records.stop()])
  })
  await Promise.all([installPolicy(operator), restoreAll(operator)])
  const [supportUrl] = await Promise.all([
    readySupport(deps, cleanup, support),
    readyRecords(deps, cleanup, records),
    enrolBilling(deps, billing),
  ])
  return {
    ...{ origin, dataDir, operator, clock },
    ...{ support, records, supportUrl },
    processes: {
      [AGENTS.support]: support.pid,
      [AGENTS.billing]: billing.pid,
      [AGENTS.records]: records.pid,
    },
    get billing() {
      return billing
    },
    async restartBilling() {
      await billing.stop()
      billing = startBilling()
      await billing.send('serve', { join: null, dir: identityDir(dataDir, AGENTS.billing) })
    },
    close: () => cleanup.run(),
  }
}

/** The sources run as they are; the published package holds the compiled ones next to this file. */
function agentFile(name: 'support-agent' | 'billing-agent' | 'records-agent'): URL {
  const isSource = import.meta.url.endsWith('.ts')
  switch (name) {
    case 'support-agent':
      return new URL(isSource ? './support-agent.ts' : './support-agent.js', import.meta.url)
    case 'billing-agent':
      return new URL(isSource ? './billing-agent.ts' : './billing-agent.js', import.meta.url)
    case 'records-agent':
      return new URL(isSource ? './records-agent.ts' : './records-agent.js', import.meta.url)
  }
}

async function installPolicy(operator: Operator): Promise<void> {
  const file = { name: DEMO_POLICY_FILE, text: DEMO_POLICY }
  const { taken, problems } = await operator.admin('policy.put', file)
  if (!taken) throw new Error(`the demo's policies were not taken: ${problems.join('; ')}`)
}

/** A demo that was interrupted may have left an agent in quarantine, where it could not enrol. */
async function restoreAll(operator: Operator): Promise<void> {
  const names: readonly string[] = Object.values(AGENTS)
  const agents = await operator.admin('agent.list', {})
  const left = agents.filter(({ name, status }) => names.includes(name) && status === 'quarantined')
  for (const { name } of left) {
    await operator.admin('agent.restore', { name, reason: 'the demo begins again' })
  }
}

/** A folder and a join string of its own for each agent, anew for each demo. */
async function invite(
  { operator, dataDir }: SetupDeps,
  name: string,
): Promise<{ readonly join: string; readonly dir: string }> {
  const dir = identityDir(dataDir, name)
  await rm(dir, { recursive: true, force: true })
  await mkdir(join(dataDir, 'demo'), { recursive: true, mode: 0o700 })
  const request = { name, roles: ['demo'], segment: 'demo', ttlSeconds: 300 }
  const invitation = await operator.admin('agent.enroll', request)
  return { join: invitation.join, dir }
}

function identityDir(dataDir: string, name: string): string {
  return join(dataDir, 'demo', name)
}

async function enrolBilling(
  deps: SetupDeps,
  billing: AgentProcess<BillingCommands>,
): Promise<void> {
  await billing.send('serve', await invite(deps, AGENTS.billing))
}

/** Support signs for itself at the gateway; at the mesh a connector with the same identity does. */
async function readySupport(
  deps: SetupDeps,
  cleanup: Cleanup,
  support: AgentProcess<SupportCommands>,
): Promise<string> {
  const { join: invitation, dir } = await invite(deps, AGENTS.support)
  const connector = await connect(deps, cleanup, { dir, join: invitation }, null)
  await support.send('enrol', { dir, join: null })
  return connector.loopbackUrl
}

async function readyRecords(
  deps: SetupDeps,
  cleanup: Cleanup,
  records: AgentProcess<RecordsCommands>,
): Promise<void> {
  const [{ url }, invited] = await Promise.all([
    records.send('serve'),
    invite(deps, AGENTS.records),
  ])
  await connect(deps, cleanup, invited, url)
}

async function connect(
  { clock, openConnector }: SetupDeps,
  cleanup: Cleanup,
  invited: { readonly join: string; readonly dir: string },
  expose: string | null,
): Promise<DemoConnector> {
  const identity = await openIdentity({ ...invited, clock, onFault: () => undefined })
  cleanup.add(() => Promise.resolve(identity.close()))
  const protocol = expose === null ? 'auto' : 'mcp'
  const connector = await openConnector({ identity, expose, protocol })
  cleanup.add(async () => void (await connector.close()))
  return connector
}

/** Closes what was set up, in reverse order. */
class Cleanup {
  readonly #tasks: (() => Promise<void>)[] = []
  #isDone = false

  /** Closes at once what is set up after the cleanup, by work that ran out of time. */
  add(close: () => Promise<void>): void {
    if (this.#isDone) close().catch(() => undefined)
    else this.#tasks.unshift(close)
  }

  async run(): Promise<void> {
    this.#isDone = true
    for (const close of this.#tasks.splice(0)) await close().catch(() => undefined)
  }
}

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Identity, openIdentity } from '@countersign/sdk'
import { type Connector, openConnector } from '../../compose/connector.ts'
import { systemClock } from '../../lib/clock.ts'
import { makeFolder } from '../../lib/named-path.ts'
import { systemRandom } from '../../lib/random.ts'
import { connectorAgent } from '../connector-agent.ts'
import type { FabricClient } from '../fabric-client.ts'
import { type AgentProcess, startAgentProcess } from './agent-process.ts'
import type { BillingOrders } from './billing-agent.ts'
import { CAST, DEMO_POLICY, DEMO_POLICY_FILE } from './demo-policy.ts'
import type { RecordsOrders } from './records-agent.ts'
import type { SupportOrders } from './support-agent.ts'
import { within } from './within.ts'

export interface StageOptions {
  readonly origin: string
  readonly dataDir: string
  readonly operator: FabricClient
}

/** The three agents, ready, with what stands around them. */
export interface Stage {
  readonly origin: string
  readonly dataDir: string
  readonly operator: FabricClient
  readonly support: AgentProcess<SupportOrders>
  /** The present process of billing, which can be taken down and brought up again. */
  readonly billing: AgentProcess<BillingOrders>
  readonly records: AgentProcess<RecordsOrders>
  /** Starts billing's process anew, with the identity that it enrolled before. */
  restartBilling(): Promise<void>
  /** The URL at which support calls others by name, without a credential of its own. */
  readonly supportUrl: string
  /** Process ids by the names of the agents, as they were first started. */
  readonly processes: Readonly<Record<string, number>>
  /** Ends every process that the demo started; the agents stay enrolled. */
  close(): Promise<void>
}

/** For everything that has to happen before the first scene, on a machine that is busy. */
const openingMsMax = 120_000

/** Installs the demo's policies, enrols its agents, starts their processes and connectors. */
export async function openStage(options: StageOptions): Promise<Stage> {
  const props = new Props()
  try {
    return await within(setUp(options, props), openingMsMax, 'the agents did not get ready')
  } catch (error) {
    await props.clear()
    throw error
  }
}

async function setUp(options: StageOptions, props: Props): Promise<Stage> {
  const { operator, dataDir } = options
  const startBilling = () =>
    startAgentProcess<BillingOrders>(CAST.billing, agentFile('billing-agent'))
  const support = startAgentProcess<SupportOrders>(CAST.support, agentFile('support-agent'))
  const records = startAgentProcess<RecordsOrders>(CAST.records, agentFile('records-agent'))
  let billing = startBilling()
  props.add(async () => {
    await Promise.all([support.stop(), billing.stop(), records.stop()])
  })
  await Promise.all([installPolicy(operator), restoreAll(operator)])
  const [supportUrl] = await Promise.all([
    readySupport(options, props, support),
    readyRecords(options, props, records),
    enrolBilling(options, billing),
  ])
  return {
    ...options,
    ...{ support, records, supportUrl },
    processes: {
      [CAST.support]: support.pid,
      [CAST.billing]: billing.pid,
      [CAST.records]: records.pid,
    },
    get billing() {
      return billing
    },
    async restartBilling() {
      await billing.stop()
      billing = startBilling()
      await billing.order('serve', { join: null, dir: identityDir(dataDir, CAST.billing) })
    },
    close: () => props.clear(),
  }
}

/** The sources run as they are; the published package holds the compiled twins beside this file. */
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

interface PolicyPut {
  readonly taken: boolean
  readonly problems: readonly string[]
}

async function installPolicy(operator: FabricClient): Promise<void> {
  const file = { name: DEMO_POLICY_FILE, text: DEMO_POLICY }
  const { taken, problems } = await operator.admin<PolicyPut>('policy.put', file)
  if (!taken) throw new Error(`the demo's policies were not taken: ${problems.join('; ')}`)
}

interface ListedAgent {
  readonly name: string
  readonly status: string
}

/** A story that was broken off may have left an agent in quarantine, where it could not enrol. */
async function restoreAll(operator: FabricClient): Promise<void> {
  const cast: readonly string[] = Object.values(CAST)
  const agents = await operator.admin<readonly ListedAgent[]>('agent.list')
  const left = agents.filter(({ name, status }) => cast.includes(name) && status === 'quarantined')
  for (const { name } of left) {
    await operator.admin('agent.restore', { name, reason: 'the demo begins again' })
  }
}

/** A folder and a join string of its own for each agent, anew for each story. */
async function invite(
  { operator, dataDir }: StageOptions,
  name: string,
): Promise<{ readonly join: string; readonly dir: string }> {
  const dir = identityDir(dataDir, name)
  await rm(dir, { recursive: true, force: true })
  makeFolder(join(dataDir, 'demo'))
  const order = { name, roles: ['demo'], segment: 'demo', ttlSeconds: 300 }
  const invitation = await operator.admin<{ join: string }>('agent.enroll', order)
  return { join: invitation.join, dir }
}

function identityDir(dataDir: string, name: string): string {
  return join(dataDir, 'demo', name)
}

async function enrolBilling(
  options: StageOptions,
  billing: AgentProcess<BillingOrders>,
): Promise<void> {
  await billing.order('serve', await invite(options, CAST.billing))
}

/** Support signs for itself at the gateway; at the mesh a connector with the same identity does. */
async function readySupport(
  options: StageOptions,
  props: Props,
  support: AgentProcess<SupportOrders>,
): Promise<string> {
  const { join: invitation, dir } = await invite(options, CAST.support)
  const connector = await connect(props, { dir, join: invitation }, null)
  await support.order('enrol', { dir, join: null })
  return connector.loopbackUrl
}

async function readyRecords(
  options: StageOptions,
  props: Props,
  records: AgentProcess<RecordsOrders>,
): Promise<void> {
  const [{ url }, invited] = await Promise.all([
    records.order('serve'),
    invite(options, CAST.records),
  ])
  await connect(props, invited, url)
}

async function connect(
  props: Props,
  invited: { readonly join: string; readonly dir: string },
  expose: string | null,
): Promise<Connector> {
  const clock = systemClock
  const identity: Identity = await openIdentity({ ...invited, clock, onFault: () => undefined })
  props.add(() => Promise.resolve(identity.close()))
  const here = { host: '127.0.0.1', port: 0 }
  const connector = await openConnector({
    agent: connectorAgent(identity, clock),
    gateway: {
      url: identity.url,
      spiffeId: `spiffe://${identity.trustDomain}/fabric/gateway`,
    },
    expose,
    protocol: expose === null ? 'auto' : 'mcp',
    listen: here,
    meshListen: { ...here, advertise: null },
    clock,
    random: systemRandom,
    log: () => undefined,
  })
  props.add(async () => void (await connector.close()))
  return connector
}

/** Cleanup of everything that was set up, in the opposite order of its setup. */
class Props {
  readonly #takeDown: (() => Promise<void>)[] = []
  #cleared = false

  /** Anything set up after the cleanup, by work that was given up on, is taken down as well. */
  add(takeDown: () => Promise<void>): void {
    if (this.#cleared) takeDown().catch(() => undefined)
    else this.#takeDown.unshift(takeDown)
  }

  async clear(): Promise<void> {
    this.#cleared = true
    for (const takeDown of this.#takeDown.splice(0)) await takeDown().catch(() => undefined)
  }
}

import type { DemoDeps, runDemo } from '@countersign/demo'
import { connectorAgent } from './connector-agent.ts'
import type { CliContext } from './context.ts'
import { Failure } from './failure.ts'
import type { Output } from './output/output.ts'
import type { StartedFabric } from './running-fabric.ts'

/** The demo, which is a package of its own: its agents are built on the official SDKs. */
export interface DemoPackage {
  readonly runDemo: typeof runDemo
}

/** Loads the demo. If it is not installed, throws a Failure that explains how to get it. */
export async function loadDemo(): Promise<DemoPackage> {
  try {
    return await import('@countersign/demo')
  } catch (error) {
    if (!isMissing(error)) throw error
    const next =
      'run `npm run demo` in a checkout of Countersign, or pack the demo there ' +
      '(`npm pack --workspace packages/demo`) and install the file next to this package'
    throw new Failure('usage', 'the demo package @countersign/demo is not installed', next)
  }
}

/** Distinguishes a demo that is not installed from one that lacks a dependency of its own. */
function isMissing(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    error.code === 'ERR_MODULE_NOT_FOUND' &&
    error.message.startsWith("Cannot find package '@countersign/demo'")
  )
}

export interface DemoRun {
  readonly fabric: StartedFabric
  readonly output: Output
  /** False when the fabric ends with the demo; the next steps then begin with starting one. */
  readonly keepsRunning: boolean
}

/** Runs the demo on this fabric; true when every check of every step held. */
export async function runDemoOn(
  { runDemo: start }: DemoPackage,
  { clock, random }: CliContext,
  { fabric, output, keepsRunning }: DemoRun,
): Promise<boolean> {
  const openConnector: DemoDeps['openConnector'] = async ({ identity, expose, protocol }) => {
    const { openConnector: open } = await import('../compose/connector.ts')
    const here = { host: '127.0.0.1', port: 0 }
    return open({
      agent: connectorAgent(identity, clock),
      gateway: {
        url: identity.url,
        spiffeId: `spiffe://${identity.trustDomain}/fabric/gateway`,
      },
      expose,
      protocol,
      listen: here,
      meshListen: { ...here, advertise: null },
      // The demo has enrolled it just now.
      usedValues: { dir: null, isFirst: true },
      clock,
      random,
      log: () => undefined,
    })
  }
  const { origin, dataDir, operator } = fabric
  const { terminal, json } = output
  return start({ origin, dataDir, operator, openConnector, clock, terminal, json, keepsRunning })
}

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { formatTrust, trustFingerprint } from '@countersign/protocol'
import {
  AgentError,
  type Identity,
  openIdentity,
  parseTrustDocument,
  RefusedError,
} from '@countersign/sdk'
import { type ClosingFault, closeInOrder } from '../concurrency/closing.ts'
import { type Config, isReplica, parseConfig } from '../config/config.ts'
import { readConfigText } from '../config/read.ts'
import { giveBackGarbage } from '../lib/heap.ts'
import type { Log } from '../observe/log.ts'
import type { Readiness } from '../observe/readiness.ts'
import type { CliContext, CommonOptions } from './context.ts'
import {
  DATA_FILES,
  findRunning,
  openDataFolder,
  replaceFile,
  stateRunning,
  unstateRunning,
} from './data-folder.ts'
import { clientOf, type FabricClient } from './fabric-client.ts'
import { Failure, toFailure } from './failure.ts'
import { brokenFailure, machineFailure } from './machine-fault.ts'
import { type ObserveAddress, type Observing, openObserving } from './observing.ts'

export interface StartOptions extends CommonOptions {
  readonly port?: number
  readonly replica?: boolean
}

/** A fabric in this process, with its operator. */
export interface StartedFabric {
  readonly origin: string
  readonly dataDir: string
  /** Path of the root certificate, for clients that verify by a file. */
  readonly rootFile: string
  /** The fingerprint that auditors compare before they rely on the trust file. */
  readonly trustFingerprint: string
  /** The URL of probes and metrics; null without a listener for them. */
  readonly observeUrl: string | null
  readonly readiness: Readiness
  readonly operator: FabricClient
  /**
   * Stops accepting, lets what is under way end for `graceMs`, and leaves the folder ready for the
   * next start. Resolves with the parts that did not close in order.
   */
  close(graceMs: number): Promise<readonly ClosingFault[]>
}

export interface FabricEvents {
  readonly log: Log
  /** The fabric can no longer keep a promise, and its process has to end. */
  onFatal(failure: Failure): void
}

/** Time that work under way has to end when a fabric is stopped. */
export const graceMs = 10_000
/** Maximum time of a stop, with everything that is closed after the grace. */
export const stopMsMax = 20_000

export function configOf({ environment }: CliContext, options: StartOptions): Config {
  const file = readConfigText(environment, options.config ?? null)
  return parseConfig(file, environment, {
    dataDir: options.data,
    port: options.port,
    replica: options.replica,
  })
}

/** Options that hold for one start only, so they are never settings. */
export interface StartOnce {
  /** See `countersign up --accept-clock`. */
  readonly acceptClock?: number | undefined
}

/** Starts a fabric on its data folder, and enrols its operator the first time. */
export async function startFabric(
  context: CliContext,
  config: Config,
  events: FabricEvents,
  once: StartOnce = {},
): Promise<StartedFabric> {
  const { dataDir } = config
  if (!isReplica(config)) await refuseSecond(dataDir)
  openDataFolder(dataDir)
  const { log } = events
  const observing = await openObserving(context, addressOf(config), log)
  if (observing.elsewhere) {
    log('probes and metrics are at a free port, since the usual one is in use', {
      url: observing.url ?? '',
    })
  }
  try {
    return await startObserved(context, config, { ...events, ...once, observing })
  } catch (error) {
    await observing.close()
    throw error
  }
}

function addressOf({ observe }: Config): ObserveAddress | null {
  return observe.enabled ? { ...observe, port: observe.port ?? null } : null
}

interface ObservedStart extends FabricEvents, StartOnce {
  readonly observing: Observing
}

async function startObserved(
  context: CliContext,
  config: Config,
  { log, onFatal, acceptClock, observing }: ObservedStart,
): Promise<StartedFabric> {
  const { dataDir } = config
  const { openFabric } = await import('../compose/compose.ts')
  const { clock, random } = context
  const opening = openFabric({
    config,
    clock,
    random,
    ...(acceptClock === undefined ? {} : { acceptClock }),
    observe: observing,
    log,
    onFatal: (reason, cause) => onFatal(brokenFailure({ what: reason, dataDir }, cause)),
  })
  const fabric = await opening.catch((error: unknown) => Promise.reject(notStarted(error, dataDir)))
  try {
    const { origin, operatorName: first } = fabric
    const place = { dataDir, origin, log, first, isReplica: isReplica(config) }
    const rootFile = join(dataDir, DATA_FILES.root)
    const trust = parseTrustDocument(JSON.parse(fabric.trust))
    // One process at a time: of two that enrol one agent, one would make the keys of the other
    // useless.
    const identity = await fabric.alone(async () => {
      await replaceFile(rootFile, fabric.rootPem)
      await replaceFile(join(dataDir, DATA_FILES.trust), formatTrust(trust))
      return openOperator(context, place, (name) => fabric.invite({ ...operatorOrder, name }))
    })
    await giveBackGarbage()
    // Last: a reader that finds the file finds a fabric that answers, and an operator identity for
    // asking it.
    observing.readiness.enter('serving')
    const running = { origin, pid: process.pid, slot: fabric.slot }
    await stateRunning(dataDir, running)
    observing.supervisor.ready()
    const operator = clientOf(identity, origin, dataDir)
    return {
      origin,
      dataDir,
      rootFile,
      trustFingerprint: await trustFingerprint(trust),
      observeUrl: observing.url,
      operator,
      readiness: observing.readiness,
      async close(forMs) {
        observing.readiness.enter('stopping')
        observing.supervisor.stopping(stopMsMax)
        const faults = await closeInOrder([
          { name: DATA_FILES.running, close: () => unstateRunning(dataDir, running) },
          { name: 'the operator', close: () => identity.close() },
        ])
        const closed = await fabric.close(forMs)
        const last = await closeInOrder([{ name: 'probes', close: () => observing.close() }])
        return [...faults, ...closed, ...last]
      },
    }
  } catch (error) {
    await fabric.close(0)
    throw error
  }
}

/** Keys, policies, ledger, port: each reports its own fault in its own words. */
function notStarted(error: unknown, dataDir: string): Error {
  const machine = machineFailure(
    'unreachable',
    { what: 'the fabric did not start', dataDir },
    error,
  )
  const known = toFailure(error)
  // A mistake of ours keeps its stack.
  const isOurs = error instanceof TypeError || error instanceof ReferenceError
  // A fault of the machine is not a mistake of the command line: a supervisor tries again.
  if (machine !== null && !isOurs && (known.exit === 'internal' || known.exit === 'broken')) {
    return machine
  }
  if (known.exit !== 'internal' || isOurs || !(error instanceof Error)) return known
  const next = '`countersign doctor` looks at keys, policies, ledger and port'
  return new Failure('unreachable', `the fabric did not start: ${error.message}`, next)
}

async function refuseSecond(dataDir: string): Promise<void> {
  const running = await findRunning(dataDir)
  if (running === null || running.pid === process.pid) return
  const { origin, pid } = running
  const next =
    'use it, stop it, or start another one with --data and --port; several processes of one data ' +
    'folder all need --replica'
  throw new Failure('usage', `a fabric runs on ${dataDir} already: ${origin}, process ${pid}`, next)
}

/** Names of operators that one data folder may have had: each but the last was cut off. */
const operatorsMax = 100
const operatorOrder = {
  kind: 'user',
  roles: ['operator'],
  segment: '',
  attributes: {},
  ttlSeconds: 60,
} as const

interface OperatorPlace {
  readonly dataDir: string
  readonly origin: string
  readonly log: Log
  /** The name of its first operator. */
  readonly first: string
  /** True if other processes of the data folder have the same operator, at their addresses. */
  readonly isReplica: boolean
}

/**
 * The operator that is stored, while its certificate is valid and it knows the fabric under this
 * address. Otherwise a new one: the user who starts the fabric owns its folder, and so its
 * operator.
 */
async function openOperator(
  { clock }: CliContext,
  { dataDir, origin, log, first, isReplica }: OperatorPlace,
  invite: (name: string) => Promise<{ readonly join: string }>,
): Promise<Identity> {
  const dir = join(dataDir, DATA_FILES.operator)
  const options = { dir, clock, onFault: () => undefined }
  try {
    const at = isReplica ? { url: origin } : {}
    const stored = await openIdentity({ ...options, ...at, join: undefined })
    if (stored.url === origin && !(await isStoredCutOff(stored, origin, dataDir))) return stored
    stored.close()
  } catch (error) {
    if (!(error instanceof AgentError) && !(error instanceof RefusedError)) throw error
  }
  for (let at = 1; ; at++) {
    // Names that no administrator gives to anyone: who holds one is enrolled again.
    const name = at === 1 ? first : `local-${first.replace(/^local-/, '')}-${at}`
    // Before the folder is removed: without an invitation the stored identity is all there is.
    const { join: invitation } = await invite(name)
    await rm(dir, { recursive: true, force: true })
    try {
      return await openIdentity({ ...options, join: invitation })
    } catch (error) {
      if (!isCutOff(error) || at === operatorsMax) throw error
      // Its keys may be in other hands, and a fabric without an operator could not restore any
      // agent.
      log(`${name} is quarantined or revoked, so another operator is enrolled`, { operator: name })
    }
  }
}

/**
 * Its certificate may be good for another half hour, in which no other operator could restore it.
 */
async function isStoredCutOff(stored: Identity, origin: string, dataDir: string): Promise<boolean> {
  try {
    await clientOf(stored, origin, dataDir).admin('status', {})
    return false
  } catch (error) {
    return isCutOff(error)
  }
}

function isCutOff(error: unknown): boolean {
  return (
    error instanceof RefusedError &&
    (error.code === 'AGENT_QUARANTINED' || error.code === 'AGENT_REVOKED')
  )
}

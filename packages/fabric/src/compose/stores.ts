import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { logOrigin } from '@countersign/protocol'
import { createCedarParser } from '../adapters/cedar/cedar-parser.ts'
import { oidcIssuer } from '../adapters/oidc/issuer-tokens.ts'
import { oidcTokenServer } from '../adapters/oidc/token-server.ts'
import { storedKeys } from '../adapters/stored-keys/key-provider.ts'
import { derCertificateWriter } from '../adapters/x509/der-certificate-writer.ts'
import { type Closer, closeInOrder } from '../concurrency/closing.ts'
import type { Config } from '../config/config.ts'
import { type Identity, openIdentity } from '../identity/identity.ts'
import { boundedKeys } from '../keys/bounded-keys.ts'
import type { CertifiedKey } from '../keys/certified-key.ts'
import { createEntryFeed, type EntryFeed } from '../ledger/entry-feed.ts'
import { Erasures } from '../ledger/erasures.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { openLedger } from '../ledger/open-ledger.ts'
import type { Clock } from '../lib/clock.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { Random } from '../lib/random.ts'
import { fittingExchanges, openFilesMax } from '../observe/open-files.ts'
import type { PipelineDeps } from '../pipeline/enforce.ts'
import type { PolicyParser } from '../policy/parser.ts'
import { type OpenPolicyModule, openPolicyModule } from '../policy/policy-module.ts'
import { DATA_CLASSES } from '../redaction/redactor.ts'
import type { RecordStore } from '../state/record-store.ts'
import type { StateStream } from '../state/state-stream.ts'
import { openForwardKey } from './certified-keys.ts'
import { type Counters, isUnusedFolder, openCounters } from './counters.ts'
import { type FabricKeys, openFabricKeys } from './keys.ts'
import { findNoRoomForEnrolment, policyEvents, recordCertificates } from './lifecycle.ts'
import { type LogSlot, openLogSlot } from './log-slot.ts'
import type { Observations } from './observe.ts'
import { OPERATION_NAMES } from './operation-names.ts'
import { policyFolder } from './policy-folder.ts'
import { openQueue, type Queue } from './queue.ts'
import { type Owners, openRecords } from './records.ts'
import { recordRestored } from './restored-log.ts'
import { retentionOf } from './retention.ts'
import { openSecrets } from './secrets.ts'
import { openState } from './state.ts'
import { openSharedDatabase } from './state-engine.ts'
import { joinReplicas } from './trust.ts'

/**
 * Replaces stages of the pipeline after it was composed. A measurement can take a control out to
 * show what it costs; nothing else may, so it is a symbol and no setting can reach it.
 */
export const dangerouslyReplaceDeps: unique symbol = Symbol('replace deps')

/** The dependencies of a whole fabric, in addition to its configuration. */
export interface Environment {
  readonly config: Config
  readonly clock: Clock
  readonly random: Random
  /** The time of the ledger's newest head, from which the operator lets the clock go back once. */
  readonly acceptClock?: number
  /** One event a line for the operator; never a secret, never a body. */
  log(event: string, facts?: Readonly<Record<string, string | number>>): void
  /** The fabric can no longer keep a promise and must end; called once. */
  onFatal(reason: string, cause: unknown): void
  /**
   * The listener that shows its state to a supervisor and to a monitoring system; none by default.
   */
  readonly observe?: Observations
  /** Reads policies; by default each time in a process of its own. */
  readonly policyParser?: PolicyParser
  readonly [dangerouslyReplaceDeps]?: (deps: PipelineDeps) => PipelineDeps
}

/** Everything durable, opened in order: nothing serves before all of it stands. */
export interface Stores {
  readonly queue: Queue
  readonly keys: FabricKeys
  readonly forwardKey: CertifiedKey
  readonly counters: Counters
  readonly identity: Identity
  readonly state: StateStream
  readonly records: RecordStore
  readonly owners: Owners
  readonly policy: OpenPolicyModule
  readonly ledger: Ledger
  readonly erasures: Erasures
  readonly slot: LogSlot
  /** Every append of a running fabric goes through it. */
  readonly feed: EntryFeed
  close(): Promise<void>
}

/**
 * Rotated at half of it: a connection that is opened just before has as long again, which no stream
 * needs. Its peers end a connection with the certificate that they met on it.
 */
const serverLifetimeMs = 4 * 3_600_000

/**
 * Opens keys, ledger, identity and policy. Rejects, with what was open closed again, when any of
 * them is in doubt: a fabric without one of them would have to guess, and it never does.
 */
export async function openStores(environment: Environment, origin: () => string): Promise<Stores> {
  const { config, clock, random } = environment
  const closers: Closer[] = []
  const close = async (): Promise<void> => {
    const faults = await closeInOrder(closers.splice(0).reverse())
    if (faults.length === 0) return
    throw new Error(faults.map(({ name, cause }) => `${name}: ${String(cause)}`).join('; '))
  }
  try {
    await assertFolders(config)
    const database = await openSharedDatabase(environment)
    if (database !== null) closers.push({ name: 'database', close: () => database.close() })
    const secrets = await openSecrets(environment, database)
    // Before the log: its folder shows that values were used before.
    const isUnused = isUnusedFolder(config)
    const slot = await openLogSlot(environment, database)
    closers.push({ name: 'log slot', close: () => slot.close() })
    const state = await openState(environment, database)
    closers.push({ name: 'state', close: () => state.close() })
    // A state without a commit is new: each process commits before it serves.
    const basis = { state, isFirst: isUnused && state.revision === 0 }
    const counters = await openCounters(environment, basis, closers)
    const keyProvider = boundedKeys(storedKeys({ secrets, clock, random }))
    const keys = await openFabricKeys(secrets, keyProvider, { slot: slot.name, random })
    const kept = await openRecords(environment, database, closers)
    const principals = new LatePrincipals()
    const ledger = await openRecord(environment, { keys, slot, principals })
    closers.push({ name: 'ledger', close: () => ledger.close() })
    const { log } = environment
    const erasures = await Erasures.open({ state, ledger, key: keys.erasures, log })
    closers.push({ name: 'erasures', close: () => erasures.close() })
    const feed = createEntryFeed(ledger)
    await recordRestored(environment, feed, ledger)
    const identity = await openIdentity({
      trustDomain: config.trustDomain,
      ...{ state, secrets, clock, random },
      ...{ rootKeys: keyProvider, tokenKeys: keyProvider },
      certificateWriter: derCertificateWriter(),
      replayGuard: counters.guard,
      openTokenServer: oidcTokenServer,
      issuers: config.identity.issuers.map((terms) => oidcIssuer(terms, clock)),
      record: recordCertificates(environment, { feed, ledger }),
      findNoRoom: findNoRoomForEnrolment({ ledger }),
      server: { name: 'gateway', names: namesOf(config), lifetimeMs: serverLifetimeMs },
      issuer: () => `${origin()}/oauth`,
      audience: origin,
      onFailure: (error) =>
        environment.log('certificate rotation failed', { error: String(error) }),
    })
    closers.push({ name: 'identity', close: () => identity.close() })
    principals.open(identity.directory)
    // Behind identity, which refuses a clock that is far ahead: nothing is on record by it then.
    const signing = { provider: keyProvider, secrets, slot: slot.name, feed }
    const forwardKey = await openForwardKey(environment, signing, closers)
    await joinReplicas({ identity, keys, ledger, counters, slot }, origin)
    const policy = await openPolicies(environment, state, feed)
    closers.push({ name: 'policies', close: () => policy.close() })
    const queue = await openQueue({ environment, state, identity, keys })
    closers.push({ name: 'channels', close: () => queue.close() })
    return {
      ...{ keys, forwardKey, counters, identity, state, ...kept },
      ...{ policy, queue, ledger, erasures, slot, feed, close },
    }
  } catch (cause) {
    // The first fault is the one to report; what closes badly after it is its consequence.
    await close().catch(() => undefined)
    throw cause
  }
}

function openPolicies(
  environment: Environment,
  state: StateStream,
  feed: EntryFeed,
): Promise<OpenPolicyModule> {
  return openPolicyModule({
    ...{ state, clock: environment.clock },
    ...policyFolder(environment.config),
    parser: environment.policyParser ?? createCedarParser(),
    dataClasses: DATA_CLASSES,
    operations: OPERATION_NAMES,
    watch: true,
    ...policyEvents(environment, feed),
  })
}

/** Every name that a caller may expect in the certificate: the public address is one of them. */
function namesOf({ listen }: Config): readonly string[] {
  const { names, publicUrl } = listen
  return publicUrl === undefined ? names : [...names, new URL(publicUrl).hostname]
}

async function assertFolders({ dataDir, policyDir }: Config): Promise<void> {
  makeFolder(dataDir)
  for (const dir of [dataDir, policyDir]) await assertNotShared(dir)
}

/** A user who can put files there can put in policies, or another fabric's identities. */
async function assertNotShared(dir: string): Promise<void> {
  // Windows has no such bits, and reports them as if everybody might.
  if (process.getuid === undefined || !existsSync(dir)) return
  const { mode } = await stat(dir)
  if ((mode & 0o002) !== 0) throw new Error(`everybody can write to ${dir}; run: chmod o-w ${dir}`)
}

/** For reading a body, waiting for the ledger and writing the answer, besides the stated times. */
const openSlackMs = 3_600_000

interface RecordParts {
  readonly keys: FabricKeys
  readonly slot: LogSlot
  readonly principals: LatePrincipals
}

/** The directory, which is open by the first entry that a client brings about. */
class LatePrincipals {
  #directory: Identity['directory'] | null = null

  open(directory: Identity['directory']): void {
    this.#directory = directory
  }

  has(name: string): boolean {
    return this.#directory !== null && this.#directory.find(name) !== null
  }
}

async function openRecord(
  environment: Environment,
  { keys, slot, principals }: RecordParts,
): Promise<Ledger> {
  const { config, clock, random } = environment
  const { limits } = config
  return openLedger({
    store: slot.takeStore(),
    lease: slot.lease,
    origin: logOrigin(config.trustDomain, slot.name),
    logKey: keys.log,
    detailKey: keys.detail,
    subjectKeys: keys.subjects,
    isPrincipal: (name) => principals.has(name),
    clock,
    random,
    limits: {
      openIntentsPerOwnerMax: fittingExchanges(limits.openExchanges, await openFilesMax()),
      // Nothing that is still under way may be closed.
      openIntentMs: limits.streamMs + limits.upstreamTimeoutMs + openSlackMs,
    },
    ...(environment.acceptClock === undefined ? {} : { acceptClock: environment.acceptClock }),
    retention: retentionOf(config),
    log: environment.log,
    onFatal: (cause) => environment.onFatal('the ledger cannot record', cause),
  })
}

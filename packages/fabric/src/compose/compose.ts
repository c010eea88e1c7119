import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createExchangeId, type Invitation } from '@countersign/protocol'
import { serverTlsOptions } from '@countersign/protocol/tls'
import { whileLocked } from '../adapters/file/file-lock.ts'
import { memoryUnauthenticatedLimits } from '../adapters/rate-limiter/rate-limits.ts'
import { undiciUpstream } from '../adapters/undici/upstream.ts'
import { createAdministration } from '../admin/administration.ts'
import { GROUPED_READS } from '../admin/operations.ts'
import type { InviteRequest } from '../admin/ports.ts'
import { type Closer, type ClosingFault, closeInOrder } from '../concurrency/closing.ts'
import type { Config } from '../config/config.ts'
import { isCurrent } from '../identity/status.ts'
import type { TokenRecord } from '../identity/token-server.ts'
import { GroupedReads } from '../ledger/grouped-reads.ts'
import type { OpenedEntry } from '../ledger/ledger-reads.ts'
import { createReceiptAccess } from '../ledger/receipt-access.ts'
import { keepHeapSmall } from '../lib/heap.ts'
import { fittingUpstreams, openFilesMax } from '../observe/open-files.ts'
import { recordRefusedRequest } from '../pipeline/control.ts'
import { createRedactor } from '../redaction/scan/create-redactor.ts'
import { createBalancer } from '../routes/balancer.ts'
import { createEndpointRegistry } from '../routes/endpoint-registry.ts'
import { createStoredRoutes } from '../routes/stored-routes.ts'
import { adminRoutes } from '../transports/gateway/admin-router.ts'
import { agentsRoutes, streamOfCall } from '../transports/gateway/agents-router.ts'
import { channelsRoutes } from '../transports/gateway/channels-router.ts'
import { meshRoutes, receiptsRoutes } from '../transports/gateway/control-router.ts'
import { type Gateway, openGateway } from '../transports/gateway/gateway.ts'
import { publicRoutes } from '../transports/gateway/public-router.ts'
import { problemReply, type Router } from '../transports/gateway/request-context.ts'
import {
  recordAsked,
  refuseAsked,
  type UnparsedOptions,
} from '../transports/gateway/unparsed-requests.ts'
import { Authorities } from '../transports/http/authorities.ts'
import { PathRoutes } from '../transports/http/path-routes.ts'
import { composeAdminDeps } from './admin.ts'
import { claimForConnector, composeApprovals } from './approvals.ts'
import { composeAnswers, composeBodies } from './bodies.ts'
import { type Consumers, openConsumers } from './detection.ts'
import { composeEntryIntake } from './entries.ts'
import {
  fabricVersion,
  type Lifecycle,
  logPolicyWarnings,
  recordLifecycle,
  recordToken,
} from './lifecycle.ts'
import { FIRST_SLOT } from './log-slot.ts'
import { composeMeshState } from './mesh.ts'
import { connectionsMax, observeFabric, openDiskWatch } from './observe.ts'
import { composePipeline } from './pipeline.ts'
import { configureRoutes, isReceiver } from './routes.ts'
import { dangerouslyReplaceDeps, type Environment, openStores, type Stores } from './stores.ts'
import { composeOtherSlots, fingerprintOf, slotNote, trustDocument } from './trust.ts'

export type { Environment } from './stores.ts'

/** A running fabric. */
export interface Fabric {
  /** `https://host:port`, as callers reach the gateway. */
  readonly origin: string
  readonly port: number
  /** The log slot of this process. */
  readonly slot: string
  /** The root certificate as PEM, for clients that verify by an authorities file. */
  readonly rootPem: string
  /** The name of the operator of its data folder; of several that share a state, each has one. */
  readonly operatorName: string
  /** The document of `GET /v1/trust`, which agents and auditors pin. */
  readonly trust: string
  /** A one-time join string; the first operator can get it only from the process itself. */
  invite(request: InviteRequest): Promise<Invitation>
  /** Runs `work` while no other process of the data folder runs such work. */
  alone<Result>(work: () => Promise<Result>): Promise<Result>
  /** Every entry as it becomes durable. */
  onEntry(listener: (entry: OpenedEntry) => void): () => void
  /** Response bytes that callers have not taken yet. */
  unsentBytes(): number
  /**
   * Stops accepting, lets what is under way end for `graceMs`, then closes everything in order.
   * Never rejects: resolves with the parts that did not close, empty after a stop in order.
   */
  close(graceMs: number): Promise<readonly ClosingFault[]>
}

/**
 * Builds and starts a fabric from one configuration. Rejects, with nothing left open, if any part
 * is in doubt.
 */
export async function openFabric(environment: Environment): Promise<Fabric> {
  let origin = ''
  const closers: Closer[] = []
  const closeAll = async (): Promise<readonly ClosingFault[]> => {
    const faults = await closeInOrder(closers.splice(0).reverse())
    for (const { name, cause } of faults) {
      environment.log('not closed in order', { part: name, error: String(cause) })
    }
    return faults
  }
  const stores = await openStores(environment, () => origin)
  closers.push({ name: 'stores', boundMs: storesCloseMs, close: () => stores.close() })
  try {
    const disk = openDiskWatch(environment, stores)
    closers.push({ name: 'disk', close: () => disk.close() })
    const consumers = await openConsumers(environment, stores, closers)
    const parts = await composeParts(environment, stores, { consumers, origin: () => origin })
    closers.push({ name: 'upstream', close: () => parts.close() })
    const lifecycle = (event: Lifecycle['event']) => recordEvent(environment, stores, event)
    // Before the first request: policies may have changed while no fabric was running.
    await lifecycle('started')
    // Behind the listener, so that it stands behind every exchange that the listener let end.
    closers.push({ name: 'the entry of the stop', close: () => lifecycle('stopped') })
    closers.push({ name: 'counted reads', close: () => parts.reads.close() })
    closers.push({ name: 'enrolments', close: endEarlierEnrolments(stores, parts) })
    const gateway = await openListener(environment, stores, parts)
    let graceMs = 0
    closers.push({
      name: 'listener',
      // It ends what is left by itself when the grace is over.
      get boundMs() {
        return graceMs + 2_000
      },
      close: () => gateway.close(graceMs),
    })
    origin = originOf(environment.config, gateway.port)
    await stores.slot.lease.publish(await slotNote(stores, origin))
    // Callers that wait for news get an answer at once, so that they do not use up the grace.
    closers.push({ name: 'long polls', close: () => parts.endWaits() })
    closers.push({ name: 'heap', close: keepHeapSmall(gateway.occupiedBytes) })
    closers.push({ name: 'rotation', close: followRotation(stores, gateway, parts) })
    closers.push({ name: 'policies', close: logPolicyWarnings(environment, stores) })
    closers.push({
      name: 'metrics',
      close: observeFabric(environment, {
        stores,
        load: gateway.load,
        isReceiver: (name) => isReceiver(environment, { stores, endpoints: parts.endpoints }, name),
        onEntry: (listener) => stores.feed.onEntry(listener),
        consumers,
        version: fabricVersion,
      }),
    })
    return {
      origin,
      port: gateway.port,
      rootPem: stores.identity.authority.rootPem,
      ...placeAmongReplicas(environment.config, stores.ledger.slot),
      trust: await trustDocument(stores),
      invite: (request) => parts.admin.agents.invite(request),
      onEntry: (listener) => stores.feed.onEntry(listener),
      unsentBytes: () => gateway.unsentBytes(),
      close(forMs) {
        graceMs = forMs
        return closeAll()
      },
    }
  } catch (cause) {
    await closeAll()
    throw cause
  }
}

/** Each store has its own bound; together they may take longer than any other part. */
const storesCloseMs = 15_000

type Parts = Awaited<ReturnType<typeof composeParts>>

function recordEvent(
  environment: Environment,
  { feed, policy }: Stores,
  event: Lifecycle['event'],
): Promise<void> {
  const what = { event, 'policy.version': policy.current.version }
  return recordLifecycle(environment, feed, what)
}

interface Begun {
  readonly consumers: Consumers
  origin(): string
}

async function composeParts(environment: Environment, stores: Stores, begun: Begun) {
  const { config, clock } = environment
  const { consumers, origin } = begun
  const endpoints = createEndpointRegistry(config.trustDomain, clock, config.routes)
  const upstream = composeUpstream(environment, stores, await openFilesMax())
  const bodies = composeBodies(stores.keys.mask, config.limits.bodyBytes, clock)
  const calls = limitsOfCalls(environment)
  const closing = new AbortController()
  const approvals = composeApprovals(environment, stores, closing.signal)
  const deps = composePipeline({
    stores,
    approvals,
    environment,
    redactor: createRedactor({ hashKey: stores.keys.mask }),
    largeBodies: bodies,
    ...consumers,
    routes: endpoints,
    hasChannel: (name) => stores.queue.present.channelAuthority.find(name) !== null,
  })
  const enforced = environment[dangerouslyReplaceDeps]?.(deps) ?? deps
  configureRoutes(environment, endpoints)
  const others = composeOtherSlots(environment, stores, origin)
  const storedRoutes = createStoredRoutes(stores.state, endpoints)
  const admin = composeAdminDeps({
    stores,
    environment,
    consumers,
    routes: storedRoutes,
    ...{ approvals, others, version: fabricVersion, origin },
  })
  const reads = composeReads(environment, stores)
  const mesh = composeMeshState(environment, stores, { endpoints, ...consumers })
  const control = {
    ...{ deps, endpoints, state: mesh, slot: stores.ledger.slot },
    ...{ receipts: createReceiptAccess(stores.ledger, others) },
    ...composeEntryIntake(environment, stores, { ...deps, approvals }),
    claimApproval: claimForConnector(stores, approvals),
  }
  const routes = new PathRoutes<Router>([
    ...agentsRoutes({
      deps: enforced,
      routes: endpoints,
      upstream: createBalancer(upstream, environment.random, () => environment.clock.monotonic(), {
        sessions: stores.owners.places,
      }),
      ...{ signer: stores.forwardKey, cardSigner: stores.keys.fabric },
      ...stores.owners,
      ...{ classify: bodies.classify, readKind: bodies.readKind, taskReader: bodies.tasks },
      trustDomain: config.trustDomain,
      origin,
      ...calls,
    }),
    ...adminRoutes({ ...deps, append: reads.append }, createAdministration(admin)),
    ...receiptsRoutes(control),
    ...meshRoutes(control),
    ...channelsRoutes({ deps: enforced, channels: () => stores.queue.present.channels }),
  ])
  const endWaits = (): void => {
    closing.abort()
    mesh.close()
    stores.queue.endWaits()
  }
  const close = (): Promise<unknown> => Promise.all([upstream.close(), bodies.close()])
  const listening = { others, upstream, answers: calls.answers, routes, origin, endWaits }
  return { deps, admin, reads, endpoints, ...listening, close }
}

/** Reads of the ledger that are repeated are counted. */
function composeReads({ clock, random, log }: Environment, { feed, ledger }: Stores): GroupedReads {
  const newId = () => createExchangeId(ledger.slot, clock.now(), random(10))
  return new GroupedReads(
    {
      ...{ append: (draft) => feed.append(draft), newId, clock, log },
      assertSpace: (purpose) => ledger.assertSpace(purpose),
    },
    GROUPED_READS,
  )
}

function placeAmongReplicas(
  { engines, dataDir }: Config,
  slot: string,
): Pick<Fabric, 'slot' | 'operatorName' | 'alone'> {
  // With the state in a database, a log slot belongs to one data folder, so that no two folders
  // have an operator of one name: the second would take the identity of the first.
  const isAlone = engines.state.engine === 'sqlite' || slot === FIRST_SLOT
  return {
    slot,
    operatorName: isAlone ? 'operator' : `local-operator-${slot}`,
    alone: (work) => whileLocked(join(dataDir, 'start.lock'), work),
  }
}

/** The bounds of a call to an agent, and the account on which its answer is counted. */
function limitsOfCalls({ config: { limits }, clock }: Environment) {
  return {
    bodyBytesMax: limits.bodyBytes,
    timeoutMs: limits.upstreamTimeoutMs,
    streamMs: limits.streamMs,
    answers: composeAnswers(limits, clock),
  }
}

/** Receivers that prove a SPIFFE ID are reached with the fabric's own certificate. */
function composeUpstream(
  { config, clock }: Environment,
  { identity }: Stores,
  files: number | null,
) {
  return undiciUpstream({
    tlsFor: (expected) => ({
      ...{ bundles: identity.bundles, now: clock.now, expected },
      admits: (peer) => isCurrent(identity.directory, peer),
      continuesUntil: (peer) => identity.renewals.untilOf(peer.spiffeId, peer.fingerprint),
      credential: identity.server.current(),
    }),
    now: clock.now,
    connectTimeoutMs: 5_000,
    headersTimeoutMs: config.limits.upstreamTimeoutMs,
    connectionsPerEndpointMax: 64,
    connectionsMax: fittingUpstreams(files),
  })
}

async function openListener(
  environment: Environment,
  stores: Stores,
  parts: Parts,
): Promise<Gateway> {
  const { config, clock, random } = environment
  const { identity } = stores
  const { listen, limits } = config
  const unread: UnparsedOptions = {
    trust: { bundles: identity.bundles, now: clock.now },
    async refuse(unchecked, refusal) {
      const { caller, unrecorded } = await recordRefusedRequest(parts.deps, unchecked, refusal)
      const reply = problemReply(unrecorded ?? refusal, unchecked.id)
      return { reply, isUnauthenticated: caller === null, isRecorded: unrecorded === null }
    },
    unauthenticatedLimits: memoryUnauthenticatedLimits(limits.refusalsPerMinute, clock),
    refusalsPerMinute: limits.refusalsPerMinute,
    slot: stores.ledger.slot,
    clock,
    random,
  }
  return openGateway({
    ...unread,
    tls: serverTlsOptions({ ...identity.server.current(), requestPeer: 'optional' }),
    host: listen.host,
    port: listen.port,
    continuesUntil: ({ spiffeId, fingerprint }) => identity.renewals.untilOf(spiffeId, fingerprint),
    bodyBytesMax: limits.bodyBytes,
    requestMemoryBytesMax: limits.requestMemoryBytes,
    answers: parts.answers,
    authorities: authoritiesOf(environment),
    head: parts.deps,
    connectionsMax: await connectionsMax(environment),
    responseLimits: { stallMs: limits.responseStallMs, unsentBytesMax: limits.unsentBytes },
    routes: parts.routes,
    streamOf: streamOfCall(parts.endpoints),
    publicRoutes: publicRoutes({
      trust: () => trustDocument(stores),
      trustFingerprint: await fingerprintOf(stores),
      enroll: (body) => identity.enrollment.enroll(body),
      renew: (presented, body) => identity.renew(presented, body),
      refuse: (request, refusal, operation) =>
        refuseAsked(request, refusal, { ...unread, operation }),
      slot: stores.ledger.slot,
      addressOfLog: (slot) => parts.others.addressOf(slot),
      findLogResource: (path) => stores.ledger.findResource(path),
      isPruned: (path) => stores.ledger.pruning.hasResource(path),
      findPage,
      handleTokens: (request, response, body) => {
        const record: TokenRecord = {
          issued: (token) => recordToken(environment, stores, token),
          refused: (refusal) => recordAsked(request, refusal, { ...unread, operation: 'token' }),
        }
        return identity.handleTokens(request as never, response as never, { body, record })
      },
      origin: parts.origin,
    }),
    origin: parts.origin,
  })
}

/** The holder of the earlier certificates must not be called in the agent's name either. */
function endEarlierEnrolments(
  { identity }: Stores,
  { endpoints, upstream }: Pick<Parts, 'endpoints' | 'upstream'>,
): () => void {
  return identity.onEnrolledAgain((name) => {
    endpoints.forget(name)
    // Connections that are open were accepted with a certificate that no longer stands.
    upstream.refresh()
  })
}

function followRotation({ identity }: Stores, gateway: Gateway, { upstream }: Parts): () => void {
  return identity.server.onRotate((credential) => {
    gateway.rotate(serverTlsOptions({ ...credential, requestPeer: 'optional' }))
    upstream.refresh()
  })
}

const pages = { verify: 'verify.html', console: 'console.html' } as const

/** Pages are built into the package; a checkout that was never built has none. */
async function findPage(name: keyof typeof pages): Promise<Uint8Array | null> {
  const file = new URL(`../../pages/${pages[name]}`, import.meta.url)
  return existsSync(file) ? readFile(file) : null
}

/** The names under which clients may ask for the gateway. */
function authoritiesOf({ config }: Environment): Authorities {
  const { host, names, publicUrl } = config.listen
  const published = publicUrl === undefined ? [] : [new URL(publicUrl).hostname]
  return new Authorities([host, ...names, ...published])
}

function originOf({ listen }: Config, port: number): string {
  return listen.publicUrl ?? `https://${hostOf(listen.host)}:${port}`
}

function hostOf(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

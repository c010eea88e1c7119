import { type MeshState, type SignedMessage } from '@countersign/protocol'
import {
  type ConnectionLimits,
  PeerFault,
  peerIdentity,
  type TrustBundles,
} from '@countersign/protocol/tls'
import { createCedarParser } from '../adapters/cedar/cedar-parser.ts'
import { undiciUpstream } from '../adapters/undici/upstream.ts'
import { type ClosingFault, closeInOrder } from '../concurrency/closing.ts'
import { authenticateByCertificate } from '../identity/authenticate-by-certificate.ts'
import { createMessageSignatures } from '../identity/message-signature.ts'
import { findAgent, findPrincipal } from '../identity/principals.ts'
import { isCurrent } from '../identity/status.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { type CountedEntry, observeExchanges } from '../observe/exchange-metrics.ts'
import { fittingConnections, fittingUpstreams, openFilesMax } from '../observe/open-files.ts'
import type { PipelineDeps } from '../pipeline/enforce.ts'
import type { PolicyParser } from '../policy/parser.ts'
import type { RouteProtocol } from '../protocols/reading/route-protocol.ts'
import { createRedactor } from '../redaction/scan/create-redactor.ts'
import { type Balancer, createBalancer } from '../routes/balancer.ts'
import { ofOneProtocol } from '../routes/endpoint-registry.ts'
import type { BodyThread } from '../transports/http/body-thread.ts'
import type { ConnectorAgent } from '../transports/mesh/connector-agent.ts'
import { openInbound } from '../transports/mesh/inbound.ts'
import { MessageSigner } from '../transports/mesh/message-signer.ts'
import { type OutboundRoute, openOutbound } from '../transports/mesh/outbound.ts'
import { openRegistration } from '../transports/mesh/registration.ts'
import { remoteApprovals } from '../transports/mesh/remote-approvals.ts'
import { remoteLedger } from '../transports/mesh/remote-ledger.ts'
import { followMeshState, type StateFollower } from '../transports/mesh/state-follower.ts'
import { composeBodies } from './bodies.ts'
import { type EmbeddedGuardOptions, type OpenGuard, openEmbeddedGuard } from './counters.ts'
import { FollowedState } from './followed-state.ts'
import { type Observations, showReadiness } from './observe.ts'
import { isDismissed } from './pipeline.ts'
import { memoryOwners, type Owners } from './records.ts'

export type { ConnectorAgent } from '../transports/mesh/connector-agent.ts'

export interface ConnectorOptions {
  readonly agent: ConnectorAgent & { readonly trust: { readonly bundles: TrustBundles } }
  /** The fabric's gateway, for agents that have no connector of their own. */
  readonly gateway: { readonly url: string; readonly spiffeId: string }
  /** The URL at which the agent itself listens, on loopback; null for one that only calls. */
  readonly expose: string | null
  readonly protocol: RouteProtocol
  readonly listen: Address
  readonly meshListen: Address & { readonly advertise: string | null }
  /** The folder in which used nonces outlive this process. */
  readonly usedValues: Pick<EmbeddedGuardOptions, 'dir' | 'isFirst'>
  /** Bounds of unread responses where they differ from the defaults. */
  readonly responseLimits?: Partial<ConnectionLimits>
  readonly clock: Clock
  readonly random: Random
  log(event: string, facts?: Readonly<Record<string, string | number>>): void
  /**
   * The listener that shows its state to a supervisor and to a monitoring system; none by default.
   */
  readonly observe?: Observations
  /** Reads policies; by default each time in a process of its own. */
  readonly policyParser?: PolicyParser
}

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Connector {
  /** The URL at which the agent calls others: `<loopbackUrl>/<name>/…`. */
  readonly loopbackUrl: string
  /** The URL at which others call the agent; null when it exposes nothing. */
  readonly meshUrl: string | null
  /** As that of a fabric: lets what is under way end for `graceMs`, and never rejects. */
  close(graceMs?: number): Promise<readonly ClosingFault[]>
}

const bodyBytesMax = 4 * 1024 * 1024
const upstreamTimeoutMs = 120_000
/** Of each listener: as many as the gateway takes by default. */
const connectionsAsked = 4_096
const streamMs = 3_600_000

/** Opens a connector next to one agent: the same pipeline as the gateway, fed by the fabric. */
export async function openConnector(options: ConnectorOptions): Promise<Connector> {
  const { agent, clock, random } = options
  const known = new FollowedState(options.policyParser ?? createCedarParser(), agent.trustDomain)
  const follower = await followMeshState(agent, clock, (state) => known.apply(state))
  const replay = openEmbeddedGuard({ ...options.usedValues, clock, log: options.log })
  const followed = { known, follower, ...openSigner(agent), replay }
  // Only the fabric can compare hashes of masked values, so a connector's key need not outlive it.
  const hashKey = random(32)
  const bodies = composeBodies(hashKey, bodyBytesMax, clock)
  const deps = {
    ...composeConnectorPipeline(options, followed),
    redactor: createRedactor({ hashKey }),
    largeBodies: bodies,
  }
  const files = await openFilesMax()
  const connectionsMax = fittingConnections(connectionsAsked, files)
  const upstream = undiciUpstream({
    tlsFor: (expected) => ({
      ...{ ...agent.trust, expected, credential: agent.credential() },
      admits: (peer) => isCurrent(known.directory, peer),
      continuesUntil: ({ fingerprint }) => known.renewedUntil(fingerprint),
    }),
    now: () => clock.now(),
    connectTimeoutMs: 5_000,
    headersTimeoutMs: upstreamTimeoutMs,
    connectionsPerEndpointMax: 64,
    connectionsMax: fittingUpstreams(files),
  })
  const { places: sessions, ...owners } = memoryOwners(clock)
  const balancer = createBalancer(upstream, random, () => clock.monotonic(), { sessions })
  const stopRotation = agent.onRotate(() => upstream.refresh())
  // Connections that are open were accepted with a certificate that no longer stands.
  known.onEnrolledAgain(() => upstream.refresh())
  const outbound = await openOutbound({
    ...{ agent, deps, clock, random, bodyBytesMax, streamMs, connectionsMax },
    slot: () => known.slot,
    ...{ signer: followed.signer, classify: bodies.classify, readKind: bodies.readKind },
    ...options.listen,
    timeoutMs: upstreamTimeoutMs,
    ...responseLimitsOf(options),
    upstream: balancer,
    ...outboundRoutes(options, follower, known),
  })
  const exposed =
    options.expose === null
      ? null
      : await exposeAgent(options, { ...followed, owners, deps, balancer, bodies, connectionsMax })
  return {
    loopbackUrl: `http://${options.listen.host}:${outbound.port}`,
    meshUrl: exposed?.url ?? null,
    async close(graceMs = 0) {
      const boundMs = graceMs + 2_000
      const faults = await closeInOrder([
        { name: 'registration', close: () => exposed?.withdraw() },
        {
          name: 'listeners',
          boundMs,
          close: () => Promise.all([exposed?.close(graceMs), outbound.close(graceMs)]),
        },
        { name: 'rotation', close: stopRotation },
        { name: 'state', close: () => follower.close() },
        { name: 'upstream', close: () => upstream.close() },
        { name: 'bodies', close: () => bodies.close() },
        { name: 'used values', close: replay.close },
      ])
      for (const { name, cause } of faults) {
        options.log('not closed in order', { part: name, error: String(cause) })
      }
      return faults
    },
  }
}

function openSigner({ signer }: ConnectorAgent): Pick<ConnectorParts, 'made' | 'signer'> {
  const made = new WeakSet<SignedMessage>()
  return { made, signer: new MessageSigner(signer, made) }
}

function responseLimitsOf({ responseLimits }: ConnectorOptions) {
  return responseLimits === undefined ? {} : { responseLimits }
}

interface ConnectorParts {
  readonly deps: PipelineDeps
  readonly balancer: Balancer
  readonly known: FollowedState
  readonly follower: StateFollower
  readonly bodies: BodyThread
  readonly owners: Omit<Owners, 'places'>
  readonly connectionsMax: number
  /** The signatures of this connector's own making. */
  readonly made: WeakSet<SignedMessage>
  readonly signer: MessageSigner
  readonly replay: OpenGuard
}

interface ExposedAgent {
  readonly url: string
  /** No caller is sent here any more. */
  withdraw(): Promise<void>
  close(graceMs: number): Promise<void>
}

async function exposeAgent(
  options: ConnectorOptions,
  { deps, balancer, known, follower, signer, bodies, owners, connectionsMax }: ConnectorParts,
): Promise<ExposedAgent> {
  const { agent, clock, random, expose, protocol, meshListen } = options
  const endpoints = [{ url: expose ?? '', spiffeId: null }]
  const inbound = await openInbound({
    ...{ agent, deps, balancer, clock, random, signer, bodyBytesMax, connectionsMax },
    ...{ classify: bodies.classify, readKind: bodies.readKind, taskReader: bodies.tasks },
    slot: () => known.slot,
    gatewayId: options.gateway.spiffeId,
    news: { ...known.news, refresh: () => follower.refresh() },
    route: {
      ...{ name: agent.name, protocol, endpoints },
      get reliability() {
        return known.lastHop(agent.name)
      },
    },
    continuesUntil: ({ fingerprint }) => known.renewedUntil(fingerprint),
    ...owners,
    host: meshListen.host,
    port: meshListen.port,
    names: meshListen.advertise === null ? [] : [new URL(meshListen.advertise).hostname],
    timeoutMs: upstreamTimeoutMs,
    streamMs,
    ...responseLimitsOf(options),
  })
  const url = meshListen.advertise ?? `https://${meshListen.host}:${inbound.port}`
  const registration = await openRegistration({
    ...{ agent, clock },
    endpoint: { url, protocol, connector: true },
    log: (event, facts) => options.log(event, facts),
  }).catch(async (cause: unknown) => {
    await inbound.close(0)
    throw cause
  })
  const unfollow = known.onChange(() => registration.follow(known))
  return {
    url,
    withdraw() {
      unfollow()
      return registration.withdraw()
    },
    close: (graceMs) => inbound.close(graceMs),
  }
}

/** Asked twice for each call; kept for as long as the state from which they were found. */
const routesKeptMax = 1024

function outboundRoutes(
  options: ConnectorOptions,
  follower: Pick<StateFollower, 'current'>,
  settings: FollowedState,
) {
  let of: MeshState | null = null
  const found = new Map<string, OutboundRoute | null>()
  const findRoute = (name: string): OutboundRoute | null => {
    const state = follower.current()
    if (state !== of || found.size >= routesKeptMax) found.clear()
    of = state
    const known = found.get(name)
    if (known !== undefined) return known
    const route = findOutboundRoute(options, { state, known: settings }, name)
    found.set(name, route)
    return route
  }
  return { findRoute, viaGateway: (name: string) => gatewayRoute(options, settings, name) }
}

function findOutboundRoute(
  { agent, gateway }: ConnectorOptions,
  { state, known }: { readonly state: MeshState; readonly known: FollowedState },
  name: string,
): OutboundRoute | null {
  const spoken = ofOneProtocol(
    state.endpoints.filter((endpoint) => endpoint.name === name && endpoint.connector),
  )
  if (spoken !== null) {
    const spiffeId = `spiffe://${agent.trustDomain}/agent/${name}`
    const endpoints = spoken.endpoints.map(({ url }) => ({ url, spiffeId }))
    const cardUrls = [`https://${name}.mesh`]
    const reliability = known.reliabilityOf(name)
    return { name, protocol: spoken.protocol, endpoints, reliability, prefix: '', cardUrls }
  }
  return gatewayRoute({ gateway }, known, name)
}

function gatewayRoute(
  { gateway }: Pick<ConnectorOptions, 'gateway'>,
  known: FollowedState,
  name: string,
): OutboundRoute {
  const prefix = `/agents/${name}`
  const cardUrls = [`${gateway.url}${prefix}`]
  // The gateway makes its own attempts.
  const reliability = known.lastHop(name)
  return { name, protocol: 'auto', endpoints: [gateway], reliability, prefix, cardUrls }
}

function composeConnectorPipeline(
  { agent, clock, random, observe }: ConnectorOptions,
  parts: Pick<ConnectorParts, 'known' | 'follower' | 'made' | 'replay'>,
): Omit<PipelineDeps, 'redactor'> {
  const { known, follower, made, replay } = parts
  const { trustDomain, trust } = agent
  // Its own streams go on with its own new certificate, which it knows without a notification.
  const ownEnd = (): number => {
    const peer = peerIdentity(agent.credential().certificateChain, trust.bundles, clock.now())
    return peer instanceof PeerFault ? 0 : peer.expiresAt
  }
  const { directory } = known
  const ledger = remoteLedger(agent, { clock, random })
  const count = observeConnector(observe, { follower, known, clock })
  return {
    authenticators: [
      authenticateByCertificate({
        ...{ trustDomain, bundles: trust.bundles, directory, clock },
        newcomers: known.newcomers,
        isCopy: true,
      }),
    ],
    signatures: createMessageSignatures({
      ...{ directory, clock, own: made },
      replayGuard: replay.guard,
    }),
    authorization: {
      policy: () => {
        // Throws when the fabric has been out of reach for too long: undecided, and so refused.
        follower.current()
        return known.policy
      },
      riskOf: (principal) => known.riskOf(principal),
      findReceiver: (kind, name) => known.findReceiver(kind, name),
      isDismissed: (kind, name) => kind === 'agent' && isDismissed(findAgent(directory, name)),
      findPrincipal: (principal) => findPrincipal(directory, principal, trustDomain),
      findMember: (name) => directory.find(name),
      trustDomain,
      continuesUntil: ({ principal, credentialId }) =>
        Math.max(known.renewedUntil(credentialId), principal === agent.spiffeId ? ownEnd() : 0),
      limits: { spend: (caller, receiver) => known.limits.spend(caller, receiver) },
      now: () => clock.now(),
    },
    trustDomain,
    approvals: remoteApprovals(agent),
    standing: { onChange: (listener) => known.onChange(listener) },
    now: () => clock.now(),
    async append(draft) {
      const committed = await ledger.append(draft)
      count(draft)
      return committed
    },
  }
}

/** Shows a connector, and gives what counts each entry that is recorded at the fabric. */
function observeConnector(
  observe: Observations | undefined,
  {
    follower,
    known,
    clock,
  }: {
    readonly follower: StateFollower
    readonly known: FollowedState
    readonly clock: Clock
  },
): (entry: CountedEntry) => void {
  if (observe === undefined) return () => undefined
  showReadiness(observe)
  observe.readiness.add({
    name: 'state',
    fault() {
      try {
        follower.current()
        return null
      } catch (error) {
        return error instanceof Error ? error.message : String(error)
      }
    },
  })
  return observeExchanges({
    metrics: observe.metrics,
    isKnown: (name) => known.directory.find(name) !== null,
    monotonic: () => clock.monotonic(),
  })
}

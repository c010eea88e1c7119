import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  type AddedLatency,
  addedLatency,
  type Bench,
  plain,
  saturate,
  type Taken,
  type Target,
} from '../hop.ts'
import { type Credentials, writeCredentials } from './credentials.ts'
import { AGENT_PATH, type Peer } from './peer.ts'
import { callerOf, PEERS } from './peers.ts'
import { freePort, type Program } from './program.ts'
import { checkFaults } from './refusals.ts'

export interface PeerFigures {
  readonly peer: Peer
  readonly taken: Taken
  /** Requests a second at which `added` was measured: half of the peer's own saturation. */
  readonly halfPerSecond: number
  readonly added: AddedLatency
  /** At half of the gateway's saturation. */
  readonly addedAtRate: AddedLatency
}

export interface MeasuredPeers {
  readonly figures: readonly PeerFigures[]
  /** Peers that are not installed. */
  readonly missing: readonly Peer[]
}

/**
 * Puts each installed peer between the load and the receiver, one after another. Rejects if one
 * permits what it must refuse. `perSecond` is half of the gateway's saturation.
 */
export async function measurePeers(
  bench: Bench,
  dir: string,
  perSecond: number,
): Promise<MeasuredPeers> {
  const credentials = await writeCredentials(join(dir, 'peers'))
  const figures: PeerFigures[] = []
  const missing: Peer[] = []
  for (const peer of PEERS) {
    const path = peer.find()
    if (path === null) missing.push(peer)
    else figures.push(await measurePeer(bench, { peer, path, dir, credentials }, perSecond))
  }
  return { figures, missing }
}

/** Saturates one peer; null where it is not installed. */
export async function saturatePeer(bench: Bench, peer: Peer, dir: string): Promise<Taken | null> {
  const path = peer.find()
  if (path === null) return null
  const credentials = await writeCredentials(join(dir, 'peers'))
  return withPeer(bench, { peer, path, dir, credentials }, (target, program) =>
    saturate(bench, target, program),
  )
}

interface PeerOrder {
  readonly peer: Peer
  readonly path: string
  readonly dir: string
  readonly credentials: Credentials
}

function measurePeer(bench: Bench, order: PeerOrder, perSecond: number): Promise<PeerFigures> {
  return withPeer(bench, order, async (target, program) => {
    const taken = await saturate(bench, target, program)
    const halfPerSecond = taken.perSecond / 2
    const added = await addedLatency(bench, target, halfPerSecond)
    const addedAtRate = await addedLatency(bench, target, perSecond)
    return { peer: order.peer, taken, halfPerSecond, added, addedAtRate }
  })
}

async function withPeer<Result>(
  bench: Bench,
  { peer, path, dir, credentials }: PeerOrder,
  work: (target: Target, program: Program) => Promise<Result>,
): Promise<Result> {
  const own = join(dir, 'peers', peer.name.replaceAll(' ', '-'))
  mkdirSync(own, { recursive: true })
  const port = await freePort()
  const place = { dir: own, port, upstream: new URL(bench.direct).host }
  const program = await peer.start(path, place, credentials)
  try {
    await assertChecks(peer, port, credentials)
    const url = `https://localhost:${port}${AGENT_PATH}`
    return await work({ ...plain(url), ...callerOf(credentials) }, program)
  } finally {
    await program.stop()
  }
}

async function assertChecks(peer: Peer, port: number, credentials: Credentials): Promise<void> {
  if (!peer.isChecking) return
  const faults = await checkFaults(port, credentials)
  if (faults.length > 0)
    throw new Error(`${peer.name} checks less than it must: ${faults.join(', ')}`)
}

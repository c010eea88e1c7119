import type { LoadOrder } from '../load-process.ts'
import type { Credentials } from './credentials.ts'
import { envoy } from './envoy.ts'
import { haproxy } from './haproxy.ts'
import { nginx } from './nginx.ts'
import type { Peer } from './peer.ts'

export const PEERS: readonly Peer[] = [nginx, envoy('each'), envoy('cached'), haproxy]

/** The part of a load that authenticates the caller to a peer. */
export function callerOf({
  ca,
  caller,
  token,
}: Credentials): Pick<LoadOrder, 'ca' | 'cert' | 'key' | 'headers'> {
  return { ca, cert: caller.cert, key: caller.key, headers: { authorization: `Bearer ${token}` } }
}

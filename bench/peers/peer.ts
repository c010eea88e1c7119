import type { Credentials } from './credentials.ts'
import type { Program } from './program.ts'

/** Addresses and the folder of a running peer. */
export interface PeerPlace {
  /** For its configuration and its logs. */
  readonly dir: string
  readonly port: number
  /** `host:port` of the receiver, HTTP/1.1 without TLS. */
  readonly upstream: string
}

/** A server of another project that the gateway is compared with. */
export interface Peer {
  /** As the rows name it. */
  readonly name: string
  /** Identity checks that it makes; `nginx` is the bare TLS hop. */
  readonly isChecking: boolean
  /** Printed where it is missing. */
  readonly howToInstall: string
  find(): string | null
  start(path: string, place: PeerPlace, credentials: Credentials): Promise<Program>
}

/** The path of the gateway's own row; the peers permit it and nothing else. */
export const AGENT_PATH = '/agents/echo/'

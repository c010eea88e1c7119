import { isIP } from 'node:net'
import { loopbackHostnames } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import type { NodeRequest } from './received-request.ts'

const servedMax = 256

/**
 * Host names and addresses that a listener is known by, with any port. A page whose DNS name was
 * made to resolve to this machine (DNS rebinding) still names its own host.
 */
export class Authorities {
  readonly #hosts: ReadonlySet<string>
  /** Spellings of ours that were seen, with their ports. */
  readonly #served = new Set<string>()

  constructor(hosts: Iterable<string>) {
    this.#hosts = new Set([...loopbackHostnames, ...hosts].map(canonicalHost))
  }

  /** Null when `authority` is one of ours, or the very address that the connection came to. */
  fault(authority: string, localAddress: string | undefined): Refusal | null {
    if (this.#served.has(authority)) return null
    const host = hostOf(authority)
    if (host !== null && this.#hosts.has(host)) {
      if (this.#served.size < servedMax) this.#served.add(authority)
      return null
    }
    if (host !== null && isIP(host) !== 0 && host === canonicalHost(localAddress ?? '')) return null
    const asked = authority === '' ? 'no authority' : `the authority ${authority.slice(0, 255)}`
    return new Refusal(
      'MESSAGE_MALFORMED',
      `${asked} is not served here; list its name in listen.names`,
    )
  }
}

/** The authority that a request names, as the parser saw it. */
export function authorityOf(request: NodeRequest): string {
  const named = 'authority' in request ? request.authority : ''
  return named || (request.headers.host ?? '')
}

/** Null when it is not a host with an optional port (RFC 3986, section 3.2.2). */
function hostOf(authority: string): string | null {
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^\s:@/?#[\]\\]{1,255}))(?::\d{1,5})?$/.exec(
    authority,
  )
  const host = match?.[1] ?? match?.[2]
  return host === undefined ? null : canonicalHost(host)
}

function canonicalHost(host: string): string {
  const bare = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  return bare.replace(/^::ffff:(?=\d+\.)/, '')
}

/** The part of the server's own report that decides whether its counters can be relied on. */
export interface ServerReport {
  /** Differs after a restart, a failover, a change of the replication history, or an eviction. */
  readonly state: string
  /** Why the server must not be used; null if it may be. */
  readonly fault: string | null
}

/** Reads the answer to INFO, which Redis and Valkey give in the same form. */
export function readServerReport(info: string): ServerReport {
  const fields = new Map<string, string>()
  for (const line of info.split('\r\n')) {
    const at = line.indexOf(':')
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1))
  }
  const valueOf = (name: string) => fields.get(name) ?? ''
  const identity = ['run_id', 'master_replid', 'evicted_keys'].map(valueOf)
  return {
    state: identity.join(' '),
    fault: identity.includes('') ? 'it does not report its identity' : faultOf(valueOf),
  }
}

function faultOf(valueOf: (name: string) => string): string | null {
  const role = valueOf('role')
  if (role !== 'master') return `it is a ${role || 'server of an unknown role'}; name the primary`
  if (valueOf('redis_mode') === 'cluster') return 'cluster mode is not supported'
  if (valueOf('loading') !== '0') return 'it is loading its data'
  const policy = valueOf('maxmemory_policy')
  // Any other policy forgets used values to make room, without notice.
  return policy === 'noeviction' ? null : `its maxmemory-policy is ${policy}; set it to noeviction`
}

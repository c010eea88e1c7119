/**
 * Final statuses that make a client send a request again by itself, or take it for unsent. A
 * receiver that acted must not be able to cause that, so none of them passes as its answer
 * (docs/protocol.md, "Statuses"). All but 401 and 449 concern the connection to the next hop, which
 * for a receiver is its connection to the fabric. For 401, the caller's credentials never reach a
 * receiver, so another one would not change the result.
 */
const repeated: ReadonlyMap<number, string> = new Map([
  [401, 'clients get another credential and send again'],
  [407, 'clients log in at a proxy and send again; fetch reports a request that was not sent'],
  [408, 'clients send again on another connection'],
  [411, 'clients send again with a length'],
  [417, 'clients send again without Expect'],
  [421, 'clients, fetch among them, send again on another connection'],
  [425, 'clients send again after the handshake'],
  [426, 'clients send again in another protocol'],
  [449, 'clients send again after what it asks for'],
  [505, 'clients send again in another version of HTTP'],
  [511, 'clients log in at a network and send again'],
])

/** Returns the reason why no receiver may answer with `status`; null if it may. */
export function statusFault(status: number): string | null {
  // One comparison for the answers of most requests.
  if (status >= 200 && status < 300) return null
  if (status < 200 || status > 599) return `the status ${status}`
  if (status < 400) return status === 304 ? null : 'a redirect leads past the fabric'
  const effect = repeated.get(status)
  return effect === undefined ? null : `the status ${status}: ${effect}; answer 403, say`
}

/**
 * Status of a refusal that its receiver states: clients do not repeat it, and the code gives the
 * details.
 */
export const statedStatus = 403

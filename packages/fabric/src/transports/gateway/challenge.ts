import type { Reply } from '../http/respond.ts'

/** What the profile covers, in the order in which a signer is asked for it (RFC 9421, section 5.1). */
const acceptSignature =
  'caller=("@method" "@path" "@query" "content-digest" "content-type" "countersign-to")' +
  ';created;keyid;nonce;alg="ed25519";tag="countersign"'

/**
 * Tells a caller that was refused for want of a proof which proofs are taken: RFC 9110, section
 * 15.5.2 demands it of every 401, and RFC 9728, section 5.1 has MCP clients find the token server by it.
 */
export function challenged(reply: Reply, origin: string): Reply {
  const code = reply.headers.find(([name]) => name === 'countersign-refusal')?.[1]
  if (code === 'SIGNATURE_MISSING') {
    return withField(reply, 'accept-signature', acceptSignature)
  }
  if (reply.status !== 401) return reply
  const metadata = `${origin}/.well-known/oauth-protected-resource`
  return withField(reply, 'www-authenticate', `Bearer resource_metadata="${metadata}"`)
}

function withField(reply: Reply, name: string, value: string): Reply {
  return { ...reply, headers: [...reply.headers, [name, value]] }
}

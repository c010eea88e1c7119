import type { Reply } from '../http/respond.ts'

/**
 * What the profile covers, in the order in which a signer is asked for it (RFC 9421, section 5.1).
 */
const acceptSignature =
  'caller=("@method" "@path" "@query" "content-digest" "content-type" "countersign-to")' +
  ';created;keyid;nonce;alg="ed25519";tag="countersign"'

/**
 * Tells a caller that was refused for want of a proof which proofs are taken: RFC 9110, section
 * 15.5.2 demands it of every 401, and RFC 9728, section 5.1 has MCP clients find the token server
 * by it. They send again what was challenged, so only a refusal that says of itself that nothing
 * was attempted is: no receiver can set either field (docs/protocol.md, "Fields").
 */
export function challenged(reply: Reply, origin: string): Reply {
  if (reply.status !== 401) return reply
  const valueOf = (field: string) => reply.headers.find(([name]) => name === field)?.[1]
  if (valueOf('countersign-may-have-acted') !== 'false') return reply
  if (valueOf('countersign-refusal') === 'SIGNATURE_MISSING') {
    return withField(reply, 'accept-signature', acceptSignature)
  }
  const metadata = `${origin}/.well-known/oauth-protected-resource`
  return withField(reply, 'www-authenticate', `Bearer resource_metadata="${metadata}"`)
}

function withField(reply: Reply, name: string, value: string): Reply {
  return { ...reply, headers: [...reply.headers, [name, value]] }
}

import type { Reply } from '../http/respond.ts'

/**
 * The components that the profile covers, in the order in which a signer is asked for them (RFC
 * 9421, section 5.1).
 */
const acceptSignature =
  'caller=("@method" "@path" "@query" "content-digest" "content-type" "countersign-to")' +
  ';created;keyid;nonce;alg="ed25519";tag="countersign"'

/**
 * Adds the accepted proofs to the reply to a caller that was refused for want of a proof: RFC 9110,
 * section 15.5.2 requires it of every 401, and RFC 9728, section 5.1 has MCP clients find the token
 * server by it. Clients send a challenged request again, so a refusal is challenged only if it
 * states that nothing was attempted: no receiver can set either field (docs/protocol.md, "Fields").
 */
export function challenged(reply: Reply, origin: string): Reply {
  const { status, refusal } = reply
  if (status !== 401 || refusal === undefined || refusal.mayHaveActed) return reply
  if (refusal.code === 'SIGNATURE_MISSING') {
    return withField(reply, 'accept-signature', acceptSignature)
  }
  const metadata = `${origin}/.well-known/oauth-protected-resource`
  return withField(reply, 'www-authenticate', `Bearer resource_metadata="${metadata}"`)
}

function withField(reply: Reply, name: string, value: string): Reply {
  return { ...reply, headers: [...reply.headers, [name, value]] }
}

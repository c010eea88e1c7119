import { sign } from 'node:crypto'
import { AgentError, type Identity } from '@countersign/sdk'
import type { ConnectorAgent, ConnectorOptions } from '../compose/connector.ts'
import type { Clock } from '../lib/clock.ts'

/** Policies, agents and endpoints of a large fabric, as JSON. */
const answerBytesMax = 64 * 1024 * 1024

/** An enrolled identity, as a connector needs it. */
export function connectorAgent(identity: Identity, clock: Clock): ConnectorOptions['agent'] {
  const { name, spiffeId, trustDomain, bundles, signing } = identity
  return {
    name,
    spiffeId,
    trustDomain,
    trust: { bundles, now: () => clock.now() },
    signer: {
      keyId: signing.keyId,
      sign: (bytes) => new Uint8Array(sign(null, bytes, signing.privateKey)),
    },
    credential: () => identity.credential(),
    onRotate: (listener) => identity.onRotate(listener),
    request: (order) => request(identity, order),
  }
}

async function request(
  { connection }: Identity,
  {
    method,
    path,
    body,
    contentType = 'application/json',
    signal,
  }: Parameters<ConnectorAgent['request']>[0],
): Promise<{ readonly status: number; readonly body: Uint8Array }> {
  const response = await connection.request({
    method,
    path,
    headers: body === null ? [] : [['content-type', contentType]],
    body: body ?? new Uint8Array(0),
    signal: signal ?? undefined,
    repeatable: method === 'GET',
  })
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body) {
    length += chunk.length
    if (length > answerBytesMax) {
      response.discard()
      throw new AgentError('ANSWER_TOO_LARGE', path)
    }
    chunks.push(chunk)
  }
  return { status: response.status, body: new Uint8Array(Buffer.concat(chunks)) }
}

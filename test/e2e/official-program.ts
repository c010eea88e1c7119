/**
 * A program as the author of a calling agent writes it: official clients, an address and a key. Run
 * with the fabric's root in NODE_EXTRA_CA_CERTS, its origin and an API key as arguments.
 */
import { SendMessageRequest } from '@a2a-js/sdk'
import {
  ClientFactory,
  createAuthenticatingFetchWithRetry,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
} from '@a2a-js/sdk/client'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const [, , origin = '', key = ''] = process.argv
const headers = { 'x-api-key': key }

const fetchImpl = createAuthenticatingFetchWithRetry(fetch, {
  headers: () => Promise.resolve(headers),
  shouldRetryWithHeaders: () => Promise.resolve(undefined),
})
const factory = new ClientFactory({
  transports: [new JsonRpcTransportFactory({ fetchImpl })],
  cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
})
const a2a = await factory.createFromUrl(`${origin}/agents/clerk/.well-known/agent-card.json`, '')
const message = { messageId: 'm-1', role: 'ROLE_USER', parts: [{ text: 'hello' }] }
const answer = await a2a.sendMessage(SendMessageRequest.fromJSON({ message }))
const part = 'parts' in answer ? answer.parts[0]?.content : undefined

const mcp = new Client({ name: 'program', version: '1' })
const url = new URL(`${origin}/agents/archive/mcp`)
await mcp.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }))
const { content } = await mcp.callTool({ name: 'say', arguments: { word: 'hello' } })
const [said] = content
await mcp.close()

const heard = {
  a2a: part?.$case === 'text' ? part.value : null,
  mcp: said?.type === 'text' ? said.text : null,
}
process.stdout.write(`${JSON.stringify(heard)}\n`)

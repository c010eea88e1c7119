import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createMcpHandler, fromJsonSchema, McpServer } from '@modelcontextprotocol/server'
import { serveCommands } from './commands.ts'
import { webListener } from './web-listener.ts'

export type RecordsCommands = {
  /** Serves MCP on loopback, like any MCP server: nothing in it depends on Countersign. */
  readonly serve: () => Promise<{ readonly url: string }>
  /** Every tool call that reached this agent, as it arrived. */
  readonly listCalls: () => Promise<readonly string[]>
}

interface Customer {
  readonly customer: string
}

const calls: string[] = []
const customer = fromJsonSchema<Customer>({
  type: 'object',
  properties: { customer: { type: 'string' } },
  required: ['customer'],
})

function createRecords(): McpServer {
  const server = new McpServer({ name: 'records', version: '1.0.0' })
  server.registerTool(
    'find_record',
    { description: 'Finds the record of a customer.', inputSchema: customer },
    ({ customer: name }) => {
      calls.push(`find_record ${name}`)
      return { content: [{ type: 'text', text: `${name}: 3 open invoices, customer since 2019` }] }
    },
  )
  server.registerTool(
    'delete_record',
    { description: 'Deletes the record of a customer.', inputSchema: customer },
    ({ customer: name }) => {
      calls.push(`delete_record ${name}`)
      return { content: [{ type: 'text', text: `${name} is deleted` }] }
    },
  )
  return server
}

async function serve(): Promise<{ readonly url: string }> {
  const handler = createMcpHandler(createRecords)
  const server = createServer(webListener((request) => handler.fetch(request)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

serveCommands({ serve, listCalls: () => Promise.resolve(calls) } satisfies RecordsCommands)

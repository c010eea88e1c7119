import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const rpc = (method: unknown) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: {} })

attack(
  verifies(['authorize:operation'], 'an operation that the protocol does not have is refused'),
  {
    ...eachRefusedOnBoth('OPERATION_UNKNOWN', {
      'of MCP': { to: 'mcp', body: rpc('tools/destroy') },
      'of A2A': { to: 'a2a', body: rpc('SendMoney') },
      'of the other protocol': { to: 'a2a', body: rpc('tools/call') },
      'in other letters': { to: 'mcp', body: rpc('Tools/Call') },
      'by another HTTP method': { method: 'PURGE' },
      'by TRACE': { method: 'TRACE', body: null },
      'by OPTIONS': { method: 'OPTIONS', body: null },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)

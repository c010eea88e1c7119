import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}'

attack(
  verifies(['inspect:malformed'], 'calls that hide behind one another in a batch are refused'),
  {
    ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
      'to an MCP server': { to: 'mcp', body: `[${call},${call}]` },
      'of one call': { to: 'mcp', body: `[${call}]` },
      'that is empty': { to: 'mcp', body: '[]' },
      'to an A2A agent': { to: 'a2a', body: `[${call}]` },
      'on a route with an open protocol': { to: 'echo', body: `[${call}]` },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)

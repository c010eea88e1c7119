import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}'
const head = (...headers: (readonly [string, string])[]) => ({ to: 'mcp', body, headers })

attack(
  verifies(
    ['authorize:operation'],
    'headers that name another operation than the body are refused',
  ),
  {
    ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
      'another method': head(['Mcp-Method', 'tools/list']),
      'another tool': head(['Mcp-Method', 'tools/call'], ['Mcp-Name', 'read']),
      'another tool in base64': head(['Mcp-Name', '=?base64?cmVhZA==?=']),
      'no method where the version requires one': head(['Mcp-Protocol-Version', '2026-07-28']),
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)

import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const listing = '"jsonrpc":"2.0","id":1,"method":"tools/list"'
const deleting = '"params":{"name":"delete_all"}'
const mcp = (body: string) => ({ to: 'mcp', body }) as const
const open = (body: string) => ({ to: 'echo', body }) as const

attack(
  verifies(
    ['authorize:operation'],
    'a member that lax receivers take for another hides no operation from policy',
  ),
  {
    ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
      'a method in capitals': mcp(`{${listing},"Method":"tools/call",${deleting}}`),
      'a long s': mcp(`{${listing},"paramſ":{"name":"delete_all"}}`),
      'parameters in capitals': mcp(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"},"Params":{"name":"delete_all"}}',
      ),
      'a tool in capitals': mcp(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"delete_all"}}',
      ),
      'a call inside an answer': mcp(
        `{"jsonrpc":"2.0","result":{},"id":1,"method":"tools/call",${deleting}}`,
      ),
      'a call inside an answer of no version': mcp(
        `{"result":{},"id":1,"method":"tools/call",${deleting}}`,
      ),
      'a message of no version': { to: 'a2a', body: '{"method":"SendMessage"}' },
      'a call of no version': mcp(`{"id":1,"method":"tools/call",${deleting}}`),
      'a call of no version where the protocol is open': open(
        `{"id":1,"method":"tools/call",${deleting}}`,
      ),
      'a version in capitals where the protocol is open': open(
        `{"JSONRPC":"2.0","id":1,"Method":"tools/call",${deleting}}`,
      ),
      'parameters by position': {
        to: 'a2a',
        body: '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":[{}]}',
      },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)

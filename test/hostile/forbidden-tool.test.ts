import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const call = (name: string) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } })

attack(
  verifies(
    ['authorize:operation', 'authorize:forbid-wins@gateway', 'authorize:forbid-wins@mesh'],
    'a tool that a policy forbids is refused, whatever else permits the call',
  ),
  {
    ...eachRefusedOnBoth('NOT_PERMITTED', {
      'by its name': { to: 'mcp', body: call('delete') },
      'in escapes': { to: 'mcp', body: call('delete').replace('delete', 'd\\u0065lete') },
      'on a route with an open protocol': { to: 'echo', body: call('delete') },
      'as a resource that bears another name': {
        to: 'mcp',
        body: JSON.stringify({
          ...{ jsonrpc: '2.0', id: 1, method: 'resources/read' },
          params: { name: 'read', uri: 'delete' },
        }),
      },
      'with the headers of another protocol': {
        to: 'echo',
        body: call('delete'),
        headers: [['A2A-Version', '1.0']],
      },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)

import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const call = (change: object) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: {}, ...change })

attack(
  verifies(
    ['authorize:operation', 'inspect:malformed@gateway', 'inspect:malformed@mesh'],
    'a call that does not name its tool where every receiver looks for it is refused',
  ),
  {
    ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
      'by position': { to: 'mcp', body: call({ params: ['delete'] }) },
      'as a list': { to: 'mcp', body: call({ params: { name: ['delete'] } }) },
      'as an address': { to: 'mcp', body: call({ params: { uri: 'delete' } }) },
      'not at all': { to: 'mcp', body: call({ params: {} }) },
      'as a resource without an address': {
        to: 'mcp',
        body: call({ method: 'resources/read', params: { name: 'read' } }),
      },
      'in an older version, where the protocol is open': {
        to: 'echo',
        body: call({ jsonrpc: '1.0', params: { name: 'delete' } }),
      },
    }),
    queue: 'the fabric cannot read sealed operations',
  },
)

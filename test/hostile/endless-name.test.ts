import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const call = (method: string, params: object) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const long = 'a'.repeat(40_000)

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh', 'record:refusals-too'],
    'a name too long to be recorded does not keep its refusal off the record',
  ),
  {
    ...eachRefusedOnBoth('MESSAGE_TOO_LARGE', {
      'of a tool': { to: 'mcp', body: call('tools/call', { name: long }) },
      'of a resource': { to: 'mcp', body: call('resources/read', { uri: long }) },
      'of a notification': { to: 'mcp', body: call(`notifications/${long}`, {}) },
      'of an unknown method': { to: 'a2a', body: call(long, {}) },
    }),
    queue: 'sealed messages name no operation',
  },
)

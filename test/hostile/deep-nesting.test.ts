import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh'],
    'a body that nests too deep is refused',
  ),
  {
    ...eachRefusedOnBoth('MESSAGE_TOO_LARGE', {
      'just beyond the limit': { body: nested(65) },
      'deep enough to exhaust a stack': { body: nested(30_000) },
      'of objects': { body: `${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}` },
      'in a JSON-RPC request': {
        to: 'mcp',
        body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${nested(70)}}`,
      },
    }),
    queue: 'sealed content is not parsed',
  },
)

import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['inspect:malformed'], 'a body that names one member twice is refused'), {
  ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
    'at the top': { body: '{"to":"alice","to":"mallory"}' },
    'deep inside': { body: '{"a":[{"b":{"c":1,"c":2}}]}' },
    'in two spellings': { body: '{"role":"user","\\u0072ole":"admin"}' },
    'under a +json type': { body: '{"a":1,"a":2}', contentType: 'application/vnd.a+json' },
    'in a JSON-RPC request': {
      to: 'mcp',
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"delete"}}',
    },
  }),
  queue: 'sealed messages have one form',
})

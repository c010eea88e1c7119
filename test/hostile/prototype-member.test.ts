import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['inspect:malformed'], 'a member that would become the prototype is refused'), {
  ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
    'at the top': { body: '{"__proto__":{"role":"admin"}}' },
    'deep inside': { body: '{"a":[[{"__proto__":1}]]}' },
    'in escapes': { body: '{"\\u005f_proto__":1}' },
  }),
  queue: 'sealed messages have one form',
})

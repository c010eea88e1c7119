import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const body = '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{}}}'

attack(verifies(['authorize:operation'], 'an unsupported protocol version is refused'), {
  ...eachRefusedOnBoth('VERSION_UNSUPPORTED', {
    'of the future': { to: 'a2a', body, headers: [['A2A-Version', '9.0']] },
    'nearly right': { to: 'a2a', body, headers: [['A2A-Version', '1.0.0']] },
    'on a route with an open protocol': { to: 'echo', body, headers: [['A2A-Version', '2']] },
  }),
  queue: 'a sealed message has one version',
})

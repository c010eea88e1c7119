import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['inspect:malformed'], 'a body where none belongs is refused'), {
  ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
    'of GET': { method: 'GET' },
    'of HEAD': { method: 'HEAD' },
    'of GET, in chunks': {
      method: 'GET',
      edit: (lines) => [
        ...lines.filter((line) => !line.startsWith('Content-Length')),
        'Transfer-Encoding: chunked',
      ],
      payload: ['2\r\n{}\r\n0\r\n\r\n'],
    },
  }),
  queue: 'members come in by the gateway',
})

import { gzipSync } from 'node:zlib'
import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const body = gzipSync('{"card":"4111 1111 1111 1111"}')
const claiming = (coding: string) => ({ body, headers: [['Content-Encoding', coding]] as const })

attack(
  verifies(
    ['inspect:unsupported'],
    'a body in a coding that the fabric does not inspect is refused',
  ),
  {
    ...eachRefusedOnBoth('CONTENT_UNSUPPORTED', {
      gzip: claiming('gzip'),
      'gzip in capitals': claiming('GZIP'),
      brotli: claiming('br'),
      'two codings': claiming('identity, gzip'),
      'a made-up coding': claiming('rot13'),
    }),
    queue: 'the fabric cannot read sealed content',
  },
)

import type { Draft } from '../harness/doors.ts'
import { lie } from '../harness/lie.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

/** Beyond the limit of the gateway's and of the connector's configuration. */
const mebibytes = 5
const kibibyte = 'x'.repeat(1024)
const big = `"${kibibyte.repeat(1024 * mebibytes)}"`
const chunks = Array.from({ length: 1024 * mebibytes }, () => `400\r\n${kibibyte}\r\n`)

const inChunks: Draft['edit'] = (lines) => [
  ...lines.filter((line) => !line.startsWith('Content-Length')),
  'Transfer-Encoding: chunked',
]

lie(verifies(['inspect:bounds@gateway', 'inspect:bounds@mesh'], 'a body without end is refused'), {
  ...eachRefusedOnBoth('MESSAGE_TOO_LARGE', {
    'that says how large it is': { body: big },
    'that says so and never comes': {
      edit: (lines) => [
        ...lines.filter((line) => !line.startsWith('Content-Length')),
        'Content-Length: 99999999999',
      ],
      payload: [],
    },
    'in chunks that end': {
      edit: inChunks,
      payload: ['1\r\n"\r\n', ...chunks, '1\r\n"\r\n0\r\n\r\n'],
    },
    'in chunks that never end': { edit: inChunks, payload: chunks },
    'in chunks, to a masking policy': { to: 'masked', edit: inChunks, payload: chunks },
  }),
  queue: 'told by oversized messages of its own format',
})

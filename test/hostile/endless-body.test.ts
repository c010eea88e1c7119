import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, refusalOf, sendAll } from '../harness/doors.ts'
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

const alone = eachRefusedOnBoth('MESSAGE_TOO_LARGE', {
  'that states its size': { body: big },
  'that states its size and never comes': {
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
})

/** A body that was not waited for must not be taken for the next request. */
const thenAnother =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const hidden = 'GET /hidden HTTP/1.1\r\nHost: hidden\r\n\r\n'
    const draft = { edit: inChunks, payload: [...chunks, '0\r\n\r\n', hidden] }
    const answers = await sendAll(world[transport], draft, 2)
    expect(answers.map(refusalOf)).toEqual(['MESSAGE_TOO_LARGE'])
  }

attack(
  verifies(['inspect:bounds@gateway', 'inspect:bounds@mesh'], 'a body without end is refused'),
  {
    gateway: { ...alone.gateway, 'with a request behind it': thenAnother('gateway') },
    mesh: { ...alone.mesh, 'with a request behind it': thenAnother('mesh') },
    queue: 'tested by oversized messages of its own format',
  },
)

import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const secret = '{"card":"4111111111111111"}'
const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}'

attack(
  verifies(
    ['inspect:unsupported'],
    'content under a type that the fabric does not inspect is refused',
  ),
  {
    ...eachRefusedOnBoth('CONTENT_UNSUPPORTED', {
      'as bytes': { to: 'masked', body: secret, contentType: 'application/octet-stream' },
      'as an image': { to: 'masked', body: secret, contentType: 'image/png' },
      'in parts': { to: 'masked', body: secret, contentType: 'multipart/form-data; boundary=x' },
      'in another charset': {
        to: 'masked',
        body: Buffer.from(secret, 'utf16le'),
        contentType: 'text/plain; charset=utf-16le',
      },
      'in a charset that is only claimed': {
        to: 'masked',
        body: secret,
        contentType: 'application/json; charset=utf-16',
      },
      'in UTF-7': { to: 'masked', body: secret, contentType: 'text/plain; charset=utf-7' },
      'a call without a type': {
        to: 'echo',
        body: call,
        edit: (lines) => lines.filter((line) => !line.startsWith('Content-Type')),
      },
      'a call as text': { to: 'echo', body: call, contentType: 'text/plain' },
      'a call as a form': {
        to: 'echo',
        body: call,
        contentType: 'application/x-www-form-urlencoded',
      },
      'a call as text, behind a blank line': {
        to: 'echo',
        body: `\n ${call}`,
        contentType: 'text/plain; charset=utf-8',
      },
    }),
    queue: 'the fabric cannot read sealed content',
  },
)

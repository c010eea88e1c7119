import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(verifies(['inspect:malformed'], 'bytes that are not what their type claims are refused'), {
  ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
    'no JSON': { body: '{"a":1,}' },
    'two values': { body: '{"a":1}{"a":2}' },
    'a comment': { body: '{"a":1}//' },
    'not a number': { body: '{"a":NaN}' },
    'a number beyond a double': { body: '{"a":1e999}' },
    'invalid UTF-8': { body: Buffer.from('7b2261223a22c328227d', 'hex') },
    'an overlong form': { body: Buffer.from('7b2261223a22c0af227d', 'hex') },
    'a surrogate in UTF-8': { body: Buffer.from('7b2261223a22eda080227d', 'hex') },
    'a lone surrogate in an escape': { body: '{"a":"\\ud800"}' },
    'a byte order mark': { body: '\ufeff{"a":1}' },
    'UTF-16': { body: Buffer.from('{"a":1}', 'utf16le') },
    'text that is not UTF-8': { body: Buffer.from([0x61, 0xff]), contentType: 'text/plain' },
  }),
  queue: 'sealed messages have one form',
})

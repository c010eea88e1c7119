import { lie } from '../harness/lie.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

lie(verifies(['inspect:malformed'], 'a path that can be read in two ways is refused'), {
  ...eachRefusedOnBoth(
    'MESSAGE_MALFORMED',
    Object.fromEntries(
      [
        '/a/../b',
        '/..',
        '/./a',
        '/a//b',
        '//a',
        '/%2e%2e/admin',
        '/%2E./admin',
        '/a%2fb',
        '/a%5cb',
        '/a\\b',
        '/a%00b',
        '/a%0d%0ab',
        '/a%252e',
        '/a%zz',
        '/a%',
        '/a#b',
        '/a;/../b',
        '/a%ff',
        '/a?b=%00',
        '/a?b=%c0%80',
        '/a?b=%ff%fe4%001',
        '/a?b=%1b',
        '/a?b=%c2%85',
      ].map((path) => [path, { path }]),
    ),
  ),
  queue: 'a channel is named by one segment, which has one spelling',
})

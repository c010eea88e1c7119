import { lie } from '../harness/lie.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

lie(verifies(['inspect:bounds@gateway', 'inspect:bounds@mesh'], 'a head without end is refused'), {
  ...eachRefusedOnBoth('MESSAGE_TOO_LARGE', {
    'of one long field': { headers: [['X-A', 'a'.repeat(40_000)]] },
    'of many fields': { headers: Array.from({ length: 101 }, (_, i) => [`X-${i}`, 'a'] as const) },
    'of very many fields': {
      headers: Array.from({ length: 3000 }, (_, i) => [`X-${i}`, 'a'.repeat(16)] as const),
    },
    'that never ends': { headers: [['X-A', 'a'.repeat(100_000)]], payload: [] },
    'with a long path': { path: `/${'a'.repeat(40_000)}` },
    'with a path that is too long': { path: `/${'a'.repeat(9_000)}` },
  }),
  queue: 'members come in by the gateway',
})

import { type Attempt, attack } from '../harness/attack.ts'
import { refused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const schemes = {
  Basic: 'Basic Y2FsbGVyOnNlY3JldA==',
  Digest: 'Digest username="caller"',
  'Bearer without a token': 'Bearer',
  'Bearer with two tokens': 'Bearer a.b.c d.e.f',
  'Bearer with a list': 'Bearer a.b.c, Basic Y2FsbGVyOnNlY3JldA==',
  'a token without a scheme': 'a.b.c',
  nothing: '',
}

/**
 * With a good certificate, too: a scheme that the fabric does not understand must not be passed
 * over.
 */
const onEach = (transport: 'gateway' | 'mesh'): Record<string, Attempt> =>
  Object.fromEntries(
    Object.entries(schemes).map(([way, value]) => [
      way,
      refused(transport, 'CREDENTIAL_REJECTED', () => ({ headers: [['Authorization', value]] })),
    ]),
  )

attack(verifies(['authenticate:someone'], 'a credential of an unknown kind is refused'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'members come in by the gateway',
})

import {
  type Answer,
  answeredAtGateway,
  answerWith,
  eachAnswered,
} from '../harness/answer-attacks.ts'
import { attack } from '../harness/attack.ts'
import { answerBody, countersignatureOf } from '../harness/countersigned.ts'
import { verifies } from '../requirements.ts'

/**
 * The countersignature of the receiver for a request that differs from the one at hand by `change`
 * alone.
 */
const moved =
  (change: (rawHeaders: readonly string[]) => readonly string[], url?: string): Answer =>
  (reached, receiver) => {
    const rawHeaders = change(reached.rawHeaders)
    const other = { ...reached, rawHeaders, url: url ?? reached.url }
    return answerWith(countersignatureOf(other, receiver), answerBody)
  }

/** The Signature field of another request, as an eavesdropper would have kept it. */
const ofAnother = (rawHeaders: readonly string[]): readonly string[] =>
  rawHeaders.map((value) => value.replace(/(fabric|caller)=:..../g, '$1=:AAAA'))

/**
 * The hop's signature instead of all of them: it would not tie the answer to what the caller
 * signed.
 */
const onlyForwarding = (honest: readonly string[]): readonly string[] =>
  honest.map((component) =>
    component === '"signature";req' ? '"signature";req;key="fabric"' : component,
  )

const code = 'COUNTERSIGNATURE_REJECTED'

const each = eachAnswered({
  'to the same question, asked before': { code, answer: moved(ofAnother) },
  'to the same question, where none is asked for': {
    code,
    role: 'open',
    answer: moved(ofAnother),
  },
  'to another question': { code, answer: moved((same) => same, '/other') },
})

attack(verifies(['countersign:response'], 'a countersignature of another exchange is refused'), {
  ...each,
  gateway: {
    ...each.gateway,
    'to the forwarding, where the caller signed': answeredAtGateway({
      code,
      isSigned: true,
      answer: (reached, receiver) =>
        answerWith(countersignatureOf(reached, receiver, { cover: onlyForwarding }), answerBody),
    }),
  },
  queue: 'tested for acknowledgements by forged-acknowledgement',
})

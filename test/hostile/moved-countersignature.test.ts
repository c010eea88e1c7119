import { type Answer, answerWith, eachAnswered } from '../harness/answer-lies.ts'
import { answerBody, countersignatureOf } from '../harness/countersigned.ts'
import { lie } from '../harness/lie.ts'
import { verifies } from '../requirements.ts'

/** What the receiver signed for a request that differs from the one at hand by `change` alone. */
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

const code = 'COUNTERSIGNATURE_REJECTED'

lie(verifies(['countersign:response'], 'a countersignature of another exchange is refused'), {
  ...eachAnswered({
    'to the same question, asked before': { code, answer: moved(ofAnother) },
    'to the same question, where none is asked for': {
      code,
      role: 'open',
      answer: moved(ofAnother),
    },
    'to another question': { code, answer: moved((same) => same, '/other') },
  }),
  queue: 'told of acknowledgements by forged-acknowledgement',
})

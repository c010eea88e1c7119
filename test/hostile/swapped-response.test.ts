import { type AnswerLie, answerWith, eachAnswered } from '../harness/answer-lies.ts'
import { answerBody, type Countersigning, countersignatureOf } from '../harness/countersigned.ts'
import { lie } from '../harness/lie.ts'
import { verifies } from '../requirements.ts'

const swapped = (how: Countersigning, body: string, status = 200): AnswerLie => ({
  code: 'COUNTERSIGNATURE_REJECTED',
  answer: (reached, receiver) =>
    answerWith(countersignatureOf(reached, receiver, how), body, status),
})

lie(
  verifies(
    ['countersign:response', 'inspect:response'],
    'an answer that was swapped after it was countersigned is refused',
  ),
  {
    ...eachAnswered({
      'another body': swapped({}, '{"paid":false}'),
      'no body': swapped({}, ''),
      'another status': swapped({}, answerBody, 404),
    }),
    queue: 'told of acknowledgements by forged-acknowledgement',
  },
)

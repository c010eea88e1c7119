import { type AnswerAttack, answerWith, eachAnswered } from '../harness/answer-attacks.ts'
import { attack } from '../harness/attack.ts'
import { answerBody, type Countersigning, countersignatureOf } from '../harness/countersigned.ts'
import { verifies } from '../requirements.ts'

const swapped = (how: Countersigning, body: string, status = 200): AnswerAttack => ({
  code: 'COUNTERSIGNATURE_REJECTED',
  answer: (reached, receiver) =>
    answerWith(countersignatureOf(reached, receiver, how), body, status),
})

attack(
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
    queue: 'tested for acknowledgements by forged-acknowledgement',
  },
)

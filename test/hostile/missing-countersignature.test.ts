import { answerWith, eachAnswered } from '../harness/answer-attacks.ts'
import { attack } from '../harness/attack.ts'
import { answerBody, countersignatureOf } from '../harness/countersigned.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['countersign:required'],
    'an answer without the countersignature that policy asks for is refused',
  ),
  {
    ...eachAnswered({
      bare: {
        code: 'COUNTERSIGNATURE_MISSING',
        answer: () => answerWith([['content-type', 'application/json']], answerBody),
      },
      'with a digest only': {
        code: 'COUNTERSIGNATURE_MISSING',
        answer: (reached, receiver) =>
          answerWith(countersignatureOf(reached, receiver).slice(0, 2), answerBody),
      },
      'with a signature for another application': {
        code: 'COUNTERSIGNATURE_MISSING',
        answer: (reached, receiver) => {
          const headers = countersignatureOf(reached, receiver).map(
            ([name, value]) => [name, value.replace('countersign-response', 'other')] as const,
          )
          return answerWith(headers, answerBody)
        },
      },
    }),
    queue: 'an acknowledgement without one is never accepted',
  },
)

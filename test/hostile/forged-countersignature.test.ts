import { type AnswerAttack, answerWith, eachAnswered } from '../harness/answer-attacks.ts'
import { attack } from '../harness/attack.ts'
import { answerBody, type Countersigning, countersignatureOf } from '../harness/countersigned.ts'
import { verifies } from '../requirements.ts'

const signedAs = (how: Countersigning): AnswerAttack => ({
  code: 'COUNTERSIGNATURE_REJECTED',
  answer: (reached, receiver) =>
    answerWith(countersignatureOf(reached, receiver, how), how.body ?? answerBody),
})

const without = (component: string) => (honest: readonly string[]) =>
  honest.filter((each) => each !== component)

const byOther: AnswerAttack['answer'] = (reached, _, { caller }) =>
  answerWith(countersignatureOf(reached, caller), answerBody)

const edited = (name: string, edit: (value: string) => string): AnswerAttack => ({
  code: 'COUNTERSIGNATURE_REJECTED',
  answer: (reached, receiver) => {
    const headers = countersignatureOf(reached, receiver).map(
      ([field, value]) => [field, field === name ? edit(value) : value] as const,
    )
    return answerWith(headers, answerBody)
  },
})

attack(
  verifies(
    ['countersign:response'],
    'a countersignature that is not the receiver’s own is refused',
  ),
  {
    ...eachAnswered({
      'by another agent': { code: 'COUNTERSIGNATURE_REJECTED', answer: byOther },
      'by another agent, where none is asked for': {
        code: 'COUNTERSIGNATURE_REJECTED',
        role: 'open',
        answer: byOther,
      },
      'by another agent, in the receiver’s name': {
        code: 'COUNTERSIGNATURE_REJECTED',
        answer: (reached, receiver, { caller }) => {
          const how = { keyId: receiver.signing.keyId }
          return answerWith(countersignatureOf(reached, caller, how), answerBody)
        },
      },
      'in the name of an unknown key': signedAs({ keyId: 'unknown' }),
      'over everything but the question': signedAs({ cover: without('"signature";req') }),
      'over everything but the body': signedAs({ cover: without('"content-digest"') }),
      'over everything but the status': signedAs({ cover: without('"@status"') }),
      'with one changed character': edited('signature', (value) =>
        value.replace(/:(.)/, (_, first: string) => `:${first === 'A' ? 'B' : 'A'}`),
      ),
      'with another time': edited('signature-input', (value) =>
        value.replace(/created=\d+/, 'created=1'),
      ),
      'of no bytes': edited('signature', () => 'callee=::'),
      'without what it covers': edited('signature-input', () => ''),
    }),
    queue: 'tested for acknowledgements by forged-acknowledgement',
  },
)

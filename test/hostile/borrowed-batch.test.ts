import { batchAlgorithm } from '@countersign/protocol'
import { answerWith, eachAnswered } from '../harness/answer-attacks.ts'
import { attack } from '../harness/attack.ts'
import { borrowedValues, inBatch } from '../harness/batches.ts'
import { answerBody, countersignatureOf } from '../harness/countersigned.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

const values = Object.entries(borrowedValues)

const requests = eachRefusedOnBoth('SIGNATURE_REJECTED', {
  ...Object.fromEntries(
    values.map(([way, how]) => [way, (world, door) => signed(door, world.caller, {}, how)]),
  ),
  async 'a batch of another agent'(world, door) {
    const how = { alg: batchAlgorithm, make: inBatch, keyId: world.caller.signing.keyId } as const
    return signed(door, await world.agent('echo'), {}, how)
  },
})

const answers = eachAnswered(
  Object.fromEntries(
    values.map(([way, how]) => [
      `answered with ${way}`,
      {
        code: 'COUNTERSIGNATURE_REJECTED',
        answer: (reached, receiver) =>
          answerWith(countersignatureOf(reached, receiver, how), answerBody),
      },
    ]),
  ),
)

attack(
  verifies(
    ['authenticate:signature', 'countersign:response'],
    'a signature of several messages is accepted for those messages alone',
  ),
  {
    gateway: { ...requests.gateway, ...answers.gateway },
    mesh: { ...requests.mesh, ...answers.mesh },
    queue: 'tested for sealed messages by swapped-ciphertext',
  },
)

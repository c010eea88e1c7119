import { expect, test } from 'vitest'
import { crashesAt, createBase, sweep } from '../../../../tools/crash/lossy-matrix.ts'

/** One operation in `step`, one way each; `npm run crash` runs all of them. */
function sample(step: number) {
  return (at: number) =>
    at % step === 0 ? crashesAt(at).slice((at / step) % 4, ((at / step) % 4) + 1) : []
}

test('a first start survives the failure of its operations', async () => {
  expect(await sweep(await createBase(0), sample(6))).toBeGreaterThan(100)
})

test('entries of which nothing is published survive the failure of its operations', async () => {
  expect(await sweep(await createBase(5, 'publishes nothing'), sample(6))).toBeGreaterThan(50)
})

test('a crossing into a full tile survives the failure of its operations [record:acknowledged-survives]', async () => {
  expect(await sweep(await createBase(252), sample(25))).toBeGreaterThan(100)
})

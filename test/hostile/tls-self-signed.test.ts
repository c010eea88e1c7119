import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('a certificate that signed itself is refused', async () => {
  const credential = forge()
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'CHAIN_UNTRUSTED',
  })
})

import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('a certificate that does not state the use of its key is refused', async () => {
  const credential = forge({ issuer: lab.intermediate, keyUsage: null })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'CERTIFICATE_UNSUITABLE',
  })
})

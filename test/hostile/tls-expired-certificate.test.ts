import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge, forgedAt } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('a certificate that ended a minute ago is refused', async () => {
  const credential = forge({ issuer: lab.intermediate, notAfter: forgedAt - 60_000 })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'CERTIFICATE_EXPIRED',
  })
})

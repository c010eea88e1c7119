import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('an identity of a domain without a bundle is refused', async () => {
  const credential = forge({ issuer: lab.intermediate, uris: ['spiffe://c.test/agent/alice'] })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'TRUST_DOMAIN_UNKNOWN',
  })
})

import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('a certificate with two identities has none', async () => {
  const credential = forge({
    issuer: lab.intermediate,
    uris: ['spiffe://a.test/agent/alice', 'spiffe://a.test/agent/admin'],
  })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'IDENTITY_AMBIGUOUS',
  })
})

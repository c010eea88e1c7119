import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('a certificate with DNS names only identifies no agent', async () => {
  const credential = forge({ issuer: lab.intermediate, uris: [], dnsNames: ['alice.a.test'] })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'IDENTITY_MISSING',
  })
})

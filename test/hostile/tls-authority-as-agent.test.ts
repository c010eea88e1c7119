import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('an authority cannot speak as an agent', async () => {
  const credential = forge({
    issuer: lab.root,
    isAuthority: true,
    uris: ['spiffe://a.test/agent/alice'],
    keyUsage: 0x84,
  })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'CERTIFICATE_UNSUITABLE',
  })
})

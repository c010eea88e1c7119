import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge, forgeDomain } from './tls-forge.ts'
import { type Lab, openLab, pemOf } from './tls-lab.ts'

const partner = forgeDomain()
let lab: Lab
beforeEach(async () => {
  lab = await openLab()
  lab.bundles.set('b.test', { sequence: 1, roots: [partner.root.certificate] })
})
afterEach(() => lab.close())

test('the authority of a federated domain speaks for its own domain', async () => {
  const credential = forge({ issuer: partner.intermediate, uris: ['spiffe://b.test/agent/bob'] })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: true,
    heard: 'spiffe://b.test/agent/bob',
  })
})

test('the authority of a federated domain cannot issue our names', async () => {
  const credential = forge({ issuer: partner.intermediate, uris: ['spiffe://a.test/agent/admin'] })
  expect(await lab.attempt({ credential })).toMatchObject({
    accepted: false,
    heard: 'CHAIN_UNTRUSTED',
  })
})

test('Node itself calls such a certificate authorized, which is why it is not asked', async () => {
  const ca = [lab.root, partner.root].map((each) => pemOf(each).cert)
  const pooled = await openLab({ ca })
  const credential = forge({ issuer: partner.intermediate, uris: ['spiffe://a.test/agent/admin'] })
  const verdict = await pooled.attempt({ credential })
  pooled.close()
  expect(verdict.authorizedByNode).toBe(true)
  expect(verdict.accepted).toBe(false)
})

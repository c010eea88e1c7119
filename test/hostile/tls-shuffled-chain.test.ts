import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test('authorities may come in any order', async () => {
  const [upper, lower] = authorities(lab)
  const leaf = forge({ issuer: lower })
  const certificateChain = [leaf.certificate, upper.certificate, lower.certificate]
  expect(await lab.attempt({ credential: { ...leaf, certificateChain } })).toMatchObject({
    accepted: true,
  })
})

test('a chain that leaves out an authority is refused', async () => {
  const leaf = forge({ issuer: authorities(lab)[1] })
  const certificateChain = [leaf.certificate, lab.root.certificate]
  expect(await lab.attempt({ credential: { ...leaf, certificateChain } })).toMatchObject({
    accepted: false,
    heard: 'CHAIN_UNTRUSTED',
  })
})

test('the certificate of another agent behind the own one changes nothing', async () => {
  const leaf = forge({ issuer: lab.intermediate })
  const admin = forge({ issuer: lab.intermediate, uris: ['spiffe://a.test/agent/admin'] })
  const certificateChain = [...leaf.certificateChain, admin.certificate]
  expect(await lab.attempt({ credential: { ...leaf, certificateChain } })).toMatchObject({
    accepted: true,
    heard: 'spiffe://a.test/agent/alice',
  })
})

function authorities({ root }: Lab) {
  const upper = forge({ isAuthority: true, issuer: root })
  return [upper, forge({ isAuthority: true, issuer: upper })] as const
}

import { afterEach, beforeEach, expect, test } from 'vitest'
import { der, derSequence } from '../../packages/fabric/src/adapters/x509/der-writer.ts'
import { extension, forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

/** permittedSubtrees of one URI host, which is not the trust domain of the leaf. */
const elsewhere = derSequence(
  der(0xa0, derSequence(der(0x86, new TextEncoder().encode('other.test')))),
)

test.each([true, false])(
  'an authority that is constrained to other names issues nothing here (critical: %s)',
  async (critical) => {
    const authority = forge({
      issuer: lab.root,
      isAuthority: true,
      keyUsage: 0x06,
      extraExtensions: [extension('2.5.29.30', critical, elsewhere)],
    })
    const credential = forge({ issuer: authority })
    const attempt = await lab.attempt({ credential })
    expect(attempt).toMatchObject({ accepted: false, heard: 'CHAIN_UNTRUSTED' })
  },
)

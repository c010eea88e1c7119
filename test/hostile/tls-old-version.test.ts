import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
beforeEach(async () => {
  lab = await openLab()
})
afterEach(() => lab.close())

test.each(['TLSv1.2', 'TLSv1.1'] as const)(
  'a client that speaks at most %s is refused',
  async (maxVersion) => {
    const credential = forge({ issuer: lab.intermediate })
    const options = { minVersion: 'TLSv1', maxVersion, ciphers: 'DEFAULT@SECLEVEL=0' } as const
    const verdict = await lab.attempt({ credential, options })
    expect(verdict).toMatchObject({ accepted: false, heard: null })
    expect(await lab.attempt({ credential })).toMatchObject({ accepted: true })
  },
)

test('a client without any of our key exchange groups is refused', async () => {
  const credential = forge({ issuer: lab.intermediate })
  const options = { ecdhCurve: 'P-521' }
  expect(await lab.attempt({ credential, options })).toMatchObject({ accepted: false, heard: null })
})

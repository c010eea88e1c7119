import { afterEach, expect, test } from 'vitest'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
afterEach(() => lab.close())

test('a client without a certificate is unauthenticated', async () => {
  lab = await openLab()
  expect(await lab.attempt()).toMatchObject({ accepted: false, heard: 'CERTIFICATE_MISSING' })
})

test('a client without a certificate is unauthenticated on a resumed session as well', async () => {
  lab = await openLab({ secureOptions: 0 })
  // Refused clients do not receive a ticket; a lenient listener of the same process would give one.
  const lenient = await openLab({ secureOptions: 0, requestCert: false })
  const { session } = await lenient.attempt()
  lenient.close()
  const verdict = await lab.attempt({ session })
  expect(verdict).toMatchObject({ accepted: false, heard: 'CERTIFICATE_MISSING' })
})

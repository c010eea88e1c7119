import { afterEach, expect, test } from 'vitest'
import { dayMs, forge } from './tls-forge.ts'
import { type Lab, openLab } from './tls-lab.ts'

let lab: Lab
afterEach(() => lab.close())

test('a session is not resumed, so an expired certificate cannot hide behind one', async () => {
  lab = await openLab()
  const credential = forge({ issuer: lab.intermediate })
  const first = await lab.attempt({ credential })
  expect(first).toMatchObject({ accepted: true, heard: 'spiffe://a.test/agent/alice' })
  expect(first.session).toBeDefined()
  const second = await lab.attempt({ credential, session: first.session })
  expect(second.resumed).toBe(false)
})

test('if a session is resumed all the same, the certificate in it has still expired', async () => {
  // A listener that was built without our options, but with our rule.
  lab = await openLab({ secureOptions: 0 })
  const credential = forge({ issuer: lab.intermediate })
  const first = await lab.attempt({ credential })
  lab.advance(2 * dayMs)
  const second = await lab.attempt({ credential, session: first.session })
  expect(second).toMatchObject({ resumed: true, accepted: false, heard: 'CERTIFICATE_EXPIRED' })
})

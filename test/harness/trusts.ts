import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { type SlotTrust, slotCertificate, type Trust } from '@countersign/protocol'

/** The trust of another fabric of the same name, whose key certifies `change` of the first log. */
export function otherFabric(trust: Trust, change: Partial<SlotTrust> = {}): Trust {
  const [first] = trust.slots
  if (first === undefined) throw new Error('a trust file has a slot')
  const { privateKey } = generateKeyPairSync('ed25519')
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const slot = { ...first, ...change }
  const certificate = slotCertificate(trust.trustDomain, slot)
  const signature = new Uint8Array(sign(null, certificate, privateKey))
  return {
    ...trust,
    slotKey: new Uint8Array(spki.subarray(-32)),
    slots: [{ ...slot, signature }],
  }
}

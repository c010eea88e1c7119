import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import type { SealingIdentity } from '../../packages/sdk/src/channel/seal-keys.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import {
  expectQueueRefused,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { verifies } from '../requirements.ts'

/** Both are members, so only the signed content distinguishes them. */
const forge =
  (claim: (member: Identity, victim: Identity) => Partial<SealingIdentity>): Attempt =>
  async (world) => {
    const { name, members } = await openHall(world)
    const [victim = world.caller, member = world.caller] = members
    const { name: own, trustDomain, signing, sealing } = member
    const identity = { name: own, trustDomain, signing, sealing, ...claim(member, victim) }
    const sealer = await openSealer(world, name, member, { identity })
    const heard = await publish(world, name, [sealer.seal(orderOf()).bytes], member)
    await expectQueueRefused(world, heard, 'SIGNATURE_REJECTED')
    expect(await lease(world, name, victim)).toEqual([])
  }

attack(
  verifies(
    ['queue:sender-proved', 'authenticate:signature@queue'],
    'a message in the name of another sender is refused',
  ),
  {
    gateway: 'tested for requests by signature-of-another-agent',
    mesh: 'tested for requests by signature-of-another-agent',
    queue: {
      'under its name': forge((_, { name }) => ({ name })),
      'under its name and key id': forge((member, { name, signing }) => ({
        name,
        signing: { ...member.signing, keyId: signing.keyId },
      })),
      'under its key id': forge((member, { signing }) => ({
        signing: { ...member.signing, keyId: signing.keyId },
      })),
      'under an unknown key id': forge((member) => ({
        signing: { ...member.signing, keyId: 'unknown' },
      })),
      'of another trust domain': forge(() => ({ trustDomain: 'elsewhere.example' })),
      'with the key of another': forge((member, { signing }) => ({
        signing: { keyId: member.signing.keyId, privateKey: signing.privateKey },
      })),
      'brought by another member': async (world) => {
        const { name, members } = await openHall(world)
        const [victim = world.caller, member = world.caller] = members
        const sealer = await openSealer(world, name, victim)
        const heard = await publish(world, name, [sealer.seal(orderOf()).bytes], member)
        await expectQueueRefused(world, heard, 'SIGNATURE_REJECTED')
      },
    },
  },
)

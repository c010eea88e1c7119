import { parseSealedMessage } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import {
  expectQueueRefused,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { refusalOf } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

type Part = 'commitment' | 'ciphertext' | 'tag' | 'signature'

function flipped(bytes: Uint8Array, at: number, bit = 0): Uint8Array {
  const copy = bytes.slice()
  copy[at] = (copy[at] ?? 0) ^ (1 << bit)
  return copy
}

const swap =
  (part: Part): Attempt =>
  async (world) => {
    const { name } = await openHall(world)
    const sealer = await openSealer(world, name, world.caller)
    const { bytes } = sealer.seal(orderOf())
    const view = parseSealedMessage(bytes)?.[part]
    if (view === undefined) throw new Error('not a sealed message')
    const heard = await publish(world, name, [flipped(bytes, view.byteOffset - bytes.byteOffset)])
    await expectQueueRefused(world, heard, 'SIGNATURE_REJECTED')
    expect(await lease(world, name, world.caller)).toEqual([])
  }

const everyHeaderBit: Attempt = async (world) => {
  const { name } = await openHall(world)
  const sealer = await openSealer(world, name, world.caller)
  const { bytes } = sealer.seal(orderOf({ labels: ['public'], orderingKey: 'a' }))
  const end = parseSealedMessage(bytes)?.additionalData.length ?? 0
  for (let at = 0; at < end; at += 3) {
    const heard = await publish(world, name, [flipped(bytes, at, at % 8)])
    // A changed bit may first make the message unreadable, stale, or of an unknown suite.
    expect([
      ...['SIGNATURE_REJECTED', 'MESSAGE_MALFORMED', 'EPOCH_STALE', 'VERSION_UNSUPPORTED'],
      'MESSAGE_TOO_LARGE',
    ]).toContain(refusalOf(heard))
  }
  expect(await lease(world, name, world.caller)).toEqual([])
}

const spliced: Attempt = async (world) => {
  const { name } = await openHall(world)
  const sealer = await openSealer(world, name, world.caller)
  const first = sealer.seal(orderOf()).bytes
  const second = sealer.seal(orderOf()).bytes
  const a = parseSealedMessage(first)
  const b = parseSealedMessage(second)
  if (a === null || b === null) throw new Error('not a sealed message')
  const from = a.ciphertext.byteOffset - first.byteOffset
  const copy = first.slice()
  copy.set(b.ciphertext.subarray(0, a.ciphertext.length), from)
  await expectQueueRefused(world, await publish(world, name, [copy]), 'SIGNATURE_REJECTED')
}

attack(
  verifies(
    ['queue:sender-proved', 'inspect:bounds@queue'],
    'a sealed message of which one bit was changed is refused',
  ),
  {
    gateway: 'tested for requests by swapped-body',
    mesh: 'tested for requests by swapped-body',
    queue: {
      'in the commitment': swap('commitment'),
      'in the ciphertext': swap('ciphertext'),
      'in the tag': swap('tag'),
      'in the signature': swap('signature'),
      'in the header': everyHeaderBit,
      'by the ciphertext of another': spliced,
    },
  },
)

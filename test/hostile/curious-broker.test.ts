import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { createOpener } from '../../packages/sdk/src/channel/seal-open.ts'
import { attack } from '../harness/attack.ts'
import {
  describe,
  keyLog,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
  secretText,
} from '../harness/channels.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Everything that the fabric keeps, its operator's own backups included. */
function filesOf(world: World): readonly string[] {
  const dir = join(world.dir, 'data')
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name))
}

const forms = [
  Buffer.from(secretText),
  Buffer.from(Buffer.from(secretText).toString('base64').slice(4, -8)),
  Buffer.from(Buffer.from(secretText).toString('hex')),
  Buffer.from(secretText, 'utf16le'),
]

attack(
  verifies(
    ['queue:ciphertext-only', 'record:no-bodies'],
    'a reader of everything that the fabric holds reads no message',
  ),
  {
    gateway: 'the gateway inspects content',
    mesh: 'a connector inspects content',
    queue: async (world) => {
      const { name, members } = await openHall(world)
      const [, listener = world.caller] = members
      const sealer = await openSealer(world, name, world.caller)
      const batch = sealer.sealBatch([orderOf(), orderOf()]).map(({ bytes }) => bytes)
      await publish(world, name, [sealer.seal(orderOf()).bytes, ...batch])
      const frames = await lease(world, name, listener)
      expect(frames).toHaveLength(3)
      const descriptor = await describe(world, name)
      const keyMessages = await keyLog(world, name)
      const source = {
        findDescriptor: () => Promise.resolve(descriptor),
        keyMessages: () => Promise.resolve(keyMessages),
      }
      // The member can read what the fabric, with every file and every frame before it, cannot.
      const opener = createOpener({ identity: listener, channel: name, source, clock: world.clock })
      for (const { sealed } of frames) {
        const opened = await opener.open(sealed)
        expect('body' in opened && Buffer.from(opened.body).toString()).toBe(secretText)
        expect(forms.some((form) => Buffer.from(sealed).includes(form))).toBe(false)
      }
      const thief = await world.agent('thief', ['caller'])
      const outsider = createOpener({ identity: thief, channel: name, source, clock: world.clock })
      const [first] = frames
      const closed = await outsider.open(first?.sealed ?? new Uint8Array(0))
      expect('body' in closed).toBe(false)
      for (const file of filesOf(world)) {
        const bytes = readFileSync(file)
        for (const form of forms) expect(bytes.includes(form), file).toBe(false)
      }
    },
  },
)

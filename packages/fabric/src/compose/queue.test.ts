import { sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import {
  enrollAgent,
  openTestIdentity,
  testPlace,
} from '../../../../test/contracts/identity-lab.ts'
import { parseConfig } from '../config/config.ts'
import { systemRandom } from '../lib/random.ts'
import { Refusal } from '../lib/refusal.ts'
import { openPrivateKey } from '../lib/stored-key.ts'
import { openQueue } from './queue.ts'

const folder = mkdtempSync(join(tmpdir(), 'countersign-queue-'))
afterAll(() => rmSync(folder, { recursive: true }))

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A process of the fabric whose state and keys are in `place`, with a data folder. */
async function openProcess(place: ReturnType<typeof testPlace>, dataDir: string, name: string) {
  const { identity, clock, state } = await openTestIdentity(undefined, undefined, place)
  const environment = {
    ...{ clock, random: systemRandom, log: () => undefined },
    config: parseConfig(
      { path: 'c.yaml', text: `listen: { publicUrl: 'https://${name}.example' }` },
      {
        ...{ configPath: null, dataDir: join(folder, dataDir), masterKey: null, colours: false },
        ...{ userConfigDir: '/', supervisor: { notifySocket: null, watchdogMs: null } },
      },
    ),
    onFatal: (reason: string, cause: unknown) => {
      throw new Error(reason, { cause })
    },
  }
  const key = await openPrivateKey(place.secrets, 'gateway/fabric', 'Ed25519')
  const forward = { keyId: 'forward', publicKey: new Uint8Array(32) }
  const keys = { fabric: { ...forward, sign: (bytes: Uint8Array) => sign(null, bytes, key) } }
  const queue = await openQueue({ environment, state, identity, keys })
  closers.push(async () => {
    await queue.close()
    identity.close()
    await state.close()
  })
  return { queue, identity, state }
}

let folders = 0

test.each([
  ['of the same data folder', () => ['one', 'one'] as const],
  ['with a data folder of its own', () => ['one', 'two'] as const],
])('a second process %s refuses channels, and names the first', async (_, names) => {
  const at = folders++
  const [first, second] = names().map((name) => `${name}-${at}`)
  const place = testPlace()
  const serving = await openProcess(place, first ?? '', 'serving')
  await enrollAgent(serving.identity, { name: 'alice' })
  const { queue } = serving
  await queue.present.channelAuthority.create({ name: 'news', members: ['alice'] })
  expect(queue.present.channelsElsewhere()).toBeNull()

  const other = await openProcess(place, second ?? '', 'other')
  await other.state.refresh()
  const call = { channel: 'news', caller: 'alice', still: () => null }
  for (const refused of [
    await other.queue.present.channels.describe(call, null),
    await other.queue.present.channels.keys(call, 1),
    other.queue.present.channelsElsewhere(),
  ]) {
    expect(refused).toBeInstanceOf(Refusal)
    expect(refused).toMatchObject({
      ...{ code: 'RECEIVER_UNREACHABLE', byOthers: true },
      detail: 'the channels are served by https://serving.example',
    })
  }
  expect(await queue.present.channels.describe(call, null)).not.toBeInstanceOf(Refusal)
})

test('a process of the same data folder serves the channels once the first has ended', async () => {
  const place = testPlace()
  const at = `${folders++}`
  const before = await openProcess(place, at, 'before')
  await enrollAgent(before.identity, { name: 'alice' })
  await before.queue.present.channelAuthority.create({ name: 'news', members: ['alice'] })
  await closers.pop()?.()
  const after = await openProcess(place, at, 'after')
  expect(after.queue.present.channelsElsewhere()).toBeNull()
  expect(after.queue.present.channelAuthority.find('news')).toMatchObject({ members: ['alice'] })
  const elsewhere = await openProcess(place, `${at}-other`, 'elsewhere')
  expect(elsewhere.queue.present.channelsElsewhere()?.detail).toContain('https://after.example')
})

test('a process that runs next to the one that serves takes over when that has ended', async () => {
  const place = testPlace()
  const at = `${folders++}`
  const before = await openProcess(place, at, 'before')
  const close = closers.pop()
  await enrollAgent(before.identity, { name: 'alice' })
  await before.queue.present.channelAuthority.create({ name: 'news', members: ['alice'] })
  const { queue, state } = await openProcess(place, at, 'next')
  await state.refresh()
  expect(queue.present.channelsElsewhere()?.detail).toContain('https://before.example')
  await close?.()
  await expect.poll(() => queue.present.channelsElsewhere()).toBeNull()
  const call = { channel: 'news', caller: 'alice', still: () => null }
  expect(await queue.present.channels.describe(call, null)).not.toBeInstanceOf(Refusal)
  // With a folder of its own, where the messages are not.
  const elsewhere = await openProcess(place, `${at}-other`, 'elsewhere')
  expect(elsewhere.queue.present.channelsElsewhere()?.detail).toContain('https://next.example')
})

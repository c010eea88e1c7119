import { sign } from 'node:crypto'
import {
  type AckVerdict,
  ackDigest,
  ackSignatureInput,
  encodeSettlement,
  type LeasedFrame,
  parseSealedMessage,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import {
  draftTo,
  expectQueueRefused,
  group,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import type { Heard } from '../harness/raw-http.ts'
import { sha256 } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const hash = (...parts: readonly Uint8Array[]) => sha256(Buffer.concat(parts))

interface Signing {
  readonly by?: Identity
  readonly group?: string
  readonly verdict?: AckVerdict
  readonly sealed?: Uint8Array
  readonly keyId?: string
  readonly leaseToken?: string
}

/** Acknowledges `frame` as the listener, while the countersignature says what `signing` says. */
async function acknowledge(
  world: World,
  { channel, frame, listener }: { channel: string; frame: LeasedFrame; listener: Identity },
  signing: Signing = {},
): Promise<Heard> {
  const sealed = signing.sealed ?? frame.sealed
  const message = parseSealedMessage(sealed)
  if (message === null) throw new Error('not a sealed message')
  const digest = ackDigest(
    {
      messageId: message.header.messageId,
      sealedHash: sha256(sealed),
      senderSignature: message.signature,
      group: signing.group ?? group,
      verdict: signing.verdict ?? 'done',
      reason: '',
    },
    hash,
  )
  const by = signing.by ?? listener
  const { offset, leaseToken } = frame
  const body = encodeSettlement({
    group,
    items: [
      {
        ...{ offset, verdict: 'done', delayMs: 0, reason: '' },
        leaseToken: signing.leaseToken ?? leaseToken,
      },
    ],
    signingKeyId: signing.keyId ?? listener.signing.keyId,
    countersignature: new Uint8Array(
      sign(null, ackSignatureInput([digest], hash), by.signing.privateKey),
    ),
  })
  const draft = draftTo(channel, 'settlements', { body })
  return send(world.control, { ...draft, as: listener.credential() })
}

async function leased(world: World) {
  const { name: channel, members } = await openHall(world)
  const [, listener = world.caller] = members
  const sealer = await openSealer(world, channel, world.caller)
  const sealed = [sealer.seal(orderOf()).bytes, sealer.seal(orderOf()).bytes]
  await publish(world, channel, sealed)
  const frames = await lease(world, channel, listener)
  const [frame, other] = frames
  if (frame === undefined || other === undefined) throw new Error('nothing was leased')
  return { channel, listener, frame, other }
}

type Scene = Awaited<ReturnType<typeof leased>>

const forged =
  (signingOf: (world: World, scene: Scene) => Signing): Telling =>
  async (world) => {
    const scene = await leased(world)
    const heard = await acknowledge(world, scene, signingOf(world, scene))
    await expectQueueRefused(world, heard, 'COUNTERSIGNATURE_REJECTED')
    // What nobody acknowledged is handed out again.
    const again = await world.clock.later(31_000, () => lease(world, scene.channel, scene.listener))
    expect(again.map(({ offset }) => offset)).toContain(scene.frame.offset)
  }

lie(
  verifies(
    ['queue:acknowledgement-countersigned', 'queue:fenced-acknowledgement', 'queue:at-least-once'],
    'an acknowledgement that its consumer did not make changes nothing',
  ),
  {
    gateway: 'told of responses by forged-countersignature',
    mesh: 'told of responses by forged-countersignature',
    queue: {
      'an honest one settles': async (world) => {
        const scene = await leased(world)
        const heard = await acknowledge(world, scene)
        expect(JSON.parse(heard.body.toString())).toEqual({ settled: [true] })
      },
      'signed by another member': forged(({ caller }) => ({ by: caller })),
      'signed by another member, under its key id': forged(({ caller }) => ({
        by: caller,
        keyId: caller.signing.keyId,
      })),
      'over another message': forged((_, { other }) => ({ sealed: other.sealed })),
      'over another verdict': forged(() => ({ verdict: 'retry' })),
      'for another group': forged(() => ({ group: 'others' })),
      'under a token of another lease': async (world) => {
        const scene = await leased(world)
        const heard = await acknowledge(world, scene, { leaseToken: scene.other.leaseToken })
        // The whole lease has one token; another lease's is what somebody else was given.
        if (scene.other.leaseToken === scene.frame.leaseToken) return
        expect(JSON.parse(heard.body.toString())).toEqual({ settled: [false] })
      },
      'under a made-up token': async (world) => {
        const scene = await leased(world)
        const heard = await acknowledge(world, scene, { leaseToken: 'made-up' })
        expect(JSON.parse(heard.body.toString())).toEqual({ settled: [false] })
      },
      'by a member to whom it was not handed out': async (world) => {
        const scene = await leased(world)
        // It learned the token, and is a member like the one that holds the lease.
        const heard = await acknowledge(world, { ...scene, listener: world.caller })
        expect(JSON.parse(heard.body.toString())).toEqual({ settled: [false] })
      },
      'of a message that is not there': async (world) => {
        const scene = await leased(world)
        const frame = { ...scene.frame, offset: scene.other.offset + 1000 }
        await expectQueueRefused(world, await acknowledge(world, { ...scene, frame }), 'LEASE_LOST')
      },
      'without a countersignature': async (world) => {
        const scene = await leased(world)
        const body = JSON.stringify({
          ...{ group, signingKeyId: scene.listener.signing.keyId },
          items: [[scene.frame.offset, scene.frame.leaseToken, 'done', 0, '']],
        })
        const draft = draftTo(scene.channel, 'settlements', { body })
        const as = scene.listener.credential()
        const heard = await send(world.control, { ...draft, as })
        await expectQueueRefused(world, heard, 'MESSAGE_MALFORMED')
      },
      'after the lease ran out': async (world) => {
        const scene = await leased(world)
        const heard = await world.clock.later(31_000, async () => {
          await lease(world, scene.channel, world.caller)
          return acknowledge(world, scene)
        })
        expect(JSON.parse(heard.body.toString())).toEqual({ settled: [false] })
      },
    },
  },
)

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
import { draftTo, group, lease, openHall, openSealer, orderOf, publish } from './channels.ts'
import { send } from './doors.ts'
import type { Heard } from './raw-http.ts'
import { sha256 } from './signed.ts'
import type { World } from './world.ts'

const hash = (...parts: readonly Uint8Array[]) => sha256(Buffer.concat(parts))

export interface Signing {
  readonly by?: Identity
  readonly group?: string
  readonly verdict?: AckVerdict
  readonly sealed?: Uint8Array
  readonly keyId?: string
  readonly leaseToken?: string
}

/** Acknowledges `frame` as the listener, while the countersignature says what `signing` says. */
export async function acknowledge(
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

/** Two messages in a hall, leased by its listener. */
export async function leaseTwo(world: World) {
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

export function settledIn(heard: Heard): unknown {
  return JSON.parse(heard.body.toString())
}

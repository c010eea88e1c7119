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
  readonly reason?: string
}

/** The subject of a settlement: a message as it was leased, or as a forger pretends that it was. */
export interface Held {
  readonly frame: Pick<LeasedFrame, 'offset' | 'leaseToken' | 'sealed'>
  readonly listener: Identity
}

const ackOf = ({ sealed, ...signing }: Signing & { readonly sealed: Uint8Array }) => {
  const message = parseSealedMessage(sealed)
  if (message === null) throw new Error('not a sealed message')
  return ackDigest(
    {
      messageId: message.header.messageId,
      sealedHash: sha256(sealed),
      senderSignature: message.signature,
      group: signing.group ?? group,
      verdict: signing.verdict ?? 'ack',
      reason: signing.reason ?? '',
    },
    hash,
  )
}

/**
 * Returns the body of a settlement of the listener, with the countersignature that `signing`
 * describes.
 */
export function settlementOf(
  items: readonly (Held & Pick<Signing, 'verdict' | 'reason'>)[],
  signing: Signing = {},
): Uint8Array {
  const [first] = items
  if (first === undefined) throw new Error('nothing to settle')
  const digests = items.map(({ frame, verdict = 'ack', reason = '' }) =>
    ackOf({ verdict, reason, ...signing, sealed: signing.sealed ?? frame.sealed }),
  )
  const by = signing.by ?? first.listener
  return encodeSettlement({
    group,
    items: items.map(({ frame: { offset, leaseToken }, verdict = 'ack', reason = '' }) => ({
      ...{ offset, verdict, delayMs: 0, reason },
      leaseToken: signing.leaseToken ?? leaseToken,
    })),
    signingKeyId: signing.keyId ?? first.listener.signing.keyId,
    countersignature: new Uint8Array(
      sign(null, ackSignatureInput(digests, hash), by.signing.privateKey),
    ),
  })
}

/** Acknowledges `frame` as the listener, with the countersignature that `signing` describes. */
export function acknowledge(
  world: World,
  { channel, frame, listener }: Held & { readonly channel: string },
  signing: Signing = {},
): Promise<Heard> {
  const body = settlementOf([{ frame, listener }], signing)
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

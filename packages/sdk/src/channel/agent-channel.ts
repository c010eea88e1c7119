import { isChannelName, KEY_LOG_LIMITS } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import type { Identity } from '../identity/identity.ts'
import { publicKeyOf } from '../identity/public-key.ts'
import { signRequest } from '../identity/signing.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import type { Channel, ChannelSettings } from './channel.ts'
import type { ChannelRequest } from './channel-calls.ts'

/**
 * A channel of the fabric that this identity belongs to. Sealing is loaded at the first use: most
 * agents never need it, and all of them start faster without.
 */
export function channelOf(
  identity: Identity,
  name: string,
  { clock, ...settings }: ChannelSettings & { readonly clock: Clock },
): Channel {
  if (!isChannelName(name)) throw new AgentError('REQUEST_MALFORMED', 'the name of the channel')
  let opened: Promise<Channel> | null = null
  const channel = (): Promise<Channel> => {
    opened ??= open(identity, name, { clock, ...settings })
    return opened
  }
  return {
    name,
    send: async (body, options) => (await channel()).send(body, options),
    sendBatch: async (messages) => (await channel()).sendBatch(messages),
    receive: async (options) => (await channel()).receive(options),
  }
}

async function open(
  identity: Identity,
  name: string,
  { clock, ...settings }: ChannelSettings & { readonly clock: Clock },
): Promise<Channel> {
  const { openChannel } = await import('./channel.ts')
  const { fabricKeyId: keyId, fabricKey } = identity.trust
  const authority = { keyId, publicKey: publicKeyOf(fabricKey) }
  const request = channelRequest(identity, clock)
  return openChannel({ ...settings, name, identity, clock, request, authority })
}

/**
 * Sends the channel requests to the fabric over the agent's own connection, signed like every call.
 */
function channelRequest(identity: Identity, clock: Clock): ChannelRequest {
  return async (method, path, headers, content) => {
    identity.assertCurrent()
    const { connection, signing: signer } = identity
    const unsigned = {
      method,
      path,
      authority: connection.authority,
      headers: Object.entries(headers),
      body: content ?? new Uint8Array(0),
    }
    const signAgain = () => signRequest(unsigned, { signer, receiverId: null, clock }).headers
    const repeatable = method === 'GET'
    const signed = { ...unsigned, headers: signAgain(), repeatable, signAgain }
    const response = await connection.request(signed)
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await readAll(response.body, KEY_LOG_LIMITS.bytesMax, 'ANSWER_TOO_LARGE'),
    }
  }
}

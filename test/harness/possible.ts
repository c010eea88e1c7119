import { encodeLeaseRequest } from '@countersign/protocol'
import { OPERATION_NAMES } from '../../packages/fabric/src/compose/operation-names.ts'
import { canHold } from '../../packages/fabric/src/policy/domains.ts'
import { Frame } from '../../packages/fabric/src/policy/frame.ts'
import type { PolicyRequest } from '../../packages/fabric/src/policy/policy.ts'
import { requestKinds } from '../../packages/fabric/src/policy/possible.ts'
import { domainsOf } from '../../packages/fabric/src/policy/request-domains.ts'
import { draftTo, openHall, openSealer, orderOf, publish } from './channels.ts'
import { type Door, send } from './doors.ts'
import type { World } from './world.ts'

const rpc = (method: string, params: object) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })

/** Calls of every protocol, with and without a tool, and for the task of another. */
export async function callEverything(door: Door): Promise<void> {
  await send(door, { to: 'echo' })
  await send(door, { to: 'echo', method: 'GET', body: null })
  await send(door, { to: 'echo', body: rpc('tools/call', { name: 'find record', arguments: {} }) })
  await send(door, { to: 'echo', body: rpc('tools/list', {}) })
  await send(door, { to: 'echo', body: rpc('notifications/x.y', {}) })
  await send(door, { to: 'echo', body: rpc('resources/read', { uri: 'file:///a' }) })
  await send(door, { to: 'echo', body: rpc('SendMessage', { message: {} }) })
  await send(door, { to: 'echo', body: rpc('GetTask', { id: 'of-another' }) })
  await send(door, { to: 'echo', path: '/.well-known/agent-card.json', method: 'GET', body: null })
}

/**
 * The fields of the context that the table of possible requests does not admit, by its nearest
 * kind.
 */
export function surprises(request: PolicyRequest): readonly string[] {
  const { action, principal, resource } = request
  const { context } = new Frame(request)
  const kinds = requestKinds(OPERATION_NAMES)
    .filter((kind) => kind.action === action && kind.resource === resource.kind)
    .map((kind) => {
      const domains = domainsOf(kind, principal.kind)
      return [...context.fields].flatMap(([name, value]) => {
        const domain = domains.get(`context.${name}`)
        return domain !== undefined && canHold(domain, value) ? [] : [name]
      })
    })
  const [nearest] = kinds.toSorted((a, b) => a.length - b.length)
  return nearest ?? [`no kind of ${action}`]
}

/** A channel on which a labelled message is published and leased. */
export async function useChannel(world: World): Promise<void> {
  const { name, members } = await openHall(world, ['reader', 'sender'])
  const [, reader, sender] = members
  if (reader === undefined || sender === undefined) throw new Error('a member is missing')
  const sealer = await openSealer(world, name, sender)
  await publish(world, name, [sealer.seal(orderOf({ labels: ['no-card'] })).bytes], sender)
  const body = encodeLeaseRequest({ group: 'g', count: 10, leaseMs: 30_000, waitMs: 0 })
  await send(world.control, { ...draftTo(name, 'leases', { body }), as: reader.credential() })
}

import { randomBytes, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedRequestHeaders,
  type HeaderList,
  utf8,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { agentId, bodyOf, type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { type DraftOf, eachRefusedOnBoth, exchangeOf } from '../harness/refusals.ts'
import { sha256, signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const edited =
  (edit: (name: string, value: string) => string): DraftOf =>
  async (world, door) => {
    const draft = await signed(door, world.caller)
    return { ...draft, headers: changed(draft, edit) }
  }

function changed({ headers = [] }: Draft, edit: (name: string, value: string) => string) {
  return headers.map(([name, value]): [string, string] => [
    name,
    name.startsWith('signature') ? edit(name, value) : value,
  ])
}

const input = (from: string | RegExp, to: string) =>
  edited((name, value) => (name === 'signature-input' ? value.replace(from, to) : value))

/** A signature of `signer` under another tag or for another receiver, without one of ours. */
async function foreign(
  door: Door,
  signer: Identity,
  how: { readonly tag?: string; readonly to?: string; readonly label?: string },
): Promise<HeaderList> {
  const { path, authority } = await door.place('echo', '/')
  const headers: HeaderList = [
    ['countersign-to', how.to ?? agentId('echo')],
    ['content-digest', formatContentDigest(sha256(bodyOf({})))],
    ['content-type', 'application/json'],
  ]
  const draft = createSignatureInput({
    components: ['"@method"', '"@path"', '"content-digest"', '"content-type"', '"countersign-to"'],
    created: Math.floor(Date.now() / 1000),
    nonce: randomBytes(18).toString('base64url'),
    keyId: signer.signing.keyId,
    tag: how.tag ?? 'countersign',
  })
  const base = createSignatureBase(draft, { method: 'POST', path, authority, headers })
  const signature = new Uint8Array(sign(null, utf8(base), signer.signing.privateKey))
  return [
    ...headers.filter(([name]) => name !== 'content-type'),
    ...formatSignedRequestHeaders(how.label ?? 'caller', draft, signature),
  ]
}

const to =
  (receiver: string): DraftOf =>
  async (world, door) => ({ headers: await foreign(door, world.caller, { to: receiver }) })

async function attestorOf(world: World, door: Door, headers: HeaderList): Promise<unknown> {
  const heard = await send(door, { headers })
  expect(refusalOf(heard)).toBeNull()
  const [intent] = await world.explain(exchangeOf(heard))
  expect(intent?.kind).toBe('intent')
  return intent?.facts['attested.request']
}

const unsigned = { gateway: 'fabric', mesh: 'connector' } as const

/**
 * A label is a name on one hop, and a tag names the application of a signature: neither is a proof.
 */
const proven = (transport: 'gateway' | 'mesh') => ({
  ...Object.fromEntries(
    ['countersign-forward', 'countersign-response', 'Countersign', 'another'].map((tag) => [
      `one with the tag ${tag} attests for no agent`,
      (async (world) => {
        const door = world[transport]
        const headers = await foreign(door, world.caller, { tag, label: 'fabric' })
        expect(await attestorOf(world, door, headers)).toBe(unsigned[transport])
      }) satisfies Attempt,
    ]),
  ),
  ...Object.fromEntries(
    ['fabric', 'callee', 'sig1'].map((label) => [
      `the caller’s own, under the label ${label}, is the caller’s`,
      (async (world) => {
        const door = world[transport]
        const headers = await foreign(door, world.caller, { label })
        const before = world.echo.reached.length
        expect(await attestorOf(world, door, headers)).toBe('caller')
        const { headers: arrived } = world.echo.reached[before] ?? {}
        const labels = String(arrived?.['signature-input'] ?? '').match(/(?<=^|, )[a-z0-9]+(?==)/g)
        // An outgoing message names each signer by the one label that is its own.
        if (labels !== null) expect(labels).toEqual(['caller', 'fabric'])
      }) satisfies Attempt,
    ]),
  ),
  'the caller’s own next to one of another application': (async (world) => {
    const door = world[transport]
    const ours = await signed(door, world.caller)
    const other = await foreign(door, await world.agent('thief', ['caller']), {
      ...{ tag: 'another', label: 'fabric' },
    })
    const extra = Object.fromEntries(other)
    const headers = changed(ours, (name, value) => `${value}, ${extra[name]}`)
    expect(await attestorOf(world, door, headers)).toBe('caller')
  }) satisfies Attempt,
})

const refusals = eachRefusedOnBoth('SIGNATURE_REJECTED', {
  'one label twice': edited((_, value) => `${value}, ${value}`),
  'one label twice, first of another': edited((name, value) =>
    name === 'signature' ? `caller=:${'A'.repeat(86)}==:, ${value}` : `${value}, ${value}`,
  ),
  'two of ours, one by another agent': async (world, door) => {
    const ours = await signed(door, world.caller)
    const thief = await world.agent('thief', ['caller'])
    const other = Object.fromEntries(await foreign(door, thief, { label: 'second' }))
    return { headers: changed(ours, (name, value) => `${value}, ${other[name]}`) }
  },
  'a label in capitals': edited((_, value) => value.replace('caller=', 'Caller=')),
  'an empty label': edited((_, value) => value.replace('caller=', '=')),
  'nine signatures': edited((_, value) =>
    [value, ...Array.from({ length: 8 }, (_each, i) => value.replace('caller', `s${i}`))].join(
      ', ',
    ),
  ),
  'an algorithm in capitals': input('alg="ed25519"', 'alg="ED25519"'),
  'an algorithm without quotes': input('alg="ed25519"', 'alg=ed25519'),
  'a symmetric algorithm': input('alg="ed25519"', 'alg="hmac-sha256"'),
  'two algorithms': input('alg="ed25519"', 'alg="ed25519";alg="hmac-sha256"'),
  'no algorithm that was signed': input(';alg="ed25519"', ''),
  'a component of a request that is none': input('"@method"', '"@method";req'),
  'one member of a field': input('"countersign-to"', '"countersign-to";key="spiffe"'),
  'a field as bytes': input('"content-digest"', '"content-digest";bs'),
  'a field of the trailer': input('"content-digest"', '"content-digest";tr'),
  'one that was made for another trust domain': to('spiffe://other.example/agent/echo'),
  'one that was made for an instance': to(`${agentId('echo')}/prod`),
  'one that was made for a user of that name': to(agentId('echo').replace('/agent/', '/user/')),
  'one that was made for a bare name': to('echo'),
})

attack(
  verifies(['authenticate:signature'], 'a signature is attributed only by its key, tag and cover'),
  {
    gateway: { ...refusals.gateway, ...proven('gateway') },
    mesh: { ...refusals.mesh, ...proven('mesh') },
    queue: 'tested by signature-on-a-channel',
  },
)

import { createHash, randomBytes, sign } from 'node:crypto'
import { join } from 'node:path'
import {
  createId,
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedRequestHeaders,
  utf8,
} from '@countersign/protocol'
import { type Agent, type Identity, openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { agentId, bytesOf, type HeaderList, refusalOf } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { talk } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** An agent that serves by the SDK itself: whoever reaches its port could come past the fabric. */
async function withServing(
  world: World,
  scene: (port: number, agent: Agent) => Promise<void>,
): Promise<void> {
  const dir = join(world.dir, 'serving')
  const { name } = await world.agent('serving', ['open'])
  const agent = await openAgent({ dir, clock: world.clock })
  let calls = 0
  const served = await agent.serve(() => {
    calls += 1
    return new Response('{}', { headers: { 'content-type': 'application/json' } })
  })
  try {
    expect(
      (
        await world.caller.line.request({
          ...{ method: 'GET', path: `/agents/${name}/`, headers: [], body: new Uint8Array(0) },
          repeatable: true,
        })
      ).status,
    ).toBe(200)
    expect(calls).toBe(1)
    await scene(served.port, agent)
    expect(calls).toBe(1)
  } finally {
    await agent.close()
  }
}

const body = '{"pay":10}'

interface Forging {
  readonly keyId: string
  readonly from?: string
  readonly to?: string
}

/** The fields that the fabric would add, signed with the key of the liar. */
function forwarding({ signing }: Identity, { keyId, from, to }: Forging): HeaderList {
  const exchange = createId('dec', Date.now(), new Uint8Array(randomBytes(10)))
  const digest = new Uint8Array(createHash('sha256').update(body).digest())
  const headers: HeaderList = [
    ['countersign-exchange', exchange],
    ['countersign-from', from ?? agentId('caller')],
    ['countersign-to', to ?? agentId('serving')],
    ['content-digest', formatContentDigest(digest)],
  ]
  const names = ['content-digest', 'countersign-exchange', 'countersign-from', 'countersign-to']
  const input = createSignatureInput({
    components: ['"@method"', '"@path"', ...names.map((name) => `"${name}"`)],
    created: Math.floor(Date.now() / 1000),
    ...{ keyId, nonce: exchange, tag: 'countersign-forward' },
  })
  const base = createSignatureBase(input, { method: 'POST', path: '/', authority: '', headers })
  const signature = new Uint8Array(sign(null, utf8(base), signing.privateKey))
  return [...headers, ...formatSignedRequestHeaders('fabric', input, signature)]
}

const forge =
  (code: string, headersOf: (liar: Identity) => HeaderList): Telling =>
  (world) =>
    withServing(world, async (port) => {
      const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
      const draft = { body, headers: headersOf(world.caller) }
      const credential = world.caller.credential()
      const [heard] = await talk({ port, credential }, bytesOf(draft, place))
      expect(heard && refusalOf(heard)).toBe(code)
    })

lie(
  verifies(
    ['authenticate:identity-headers@mesh', 'authenticate:signature@mesh'],
    'a request that did not come by the fabric is not taken for one that did',
  ),
  {
    gateway: 'told of callers by forged-identity-header',
    mesh: {
      'without a forwarding': forge('SIGNATURE_MISSING', () => []),
      'by headers alone': forge('SIGNATURE_MISSING', () => [
        ['countersign-from', agentId('operator')],
        ['countersign-to', agentId('serving')],
      ]),
      'signed by the liar': forge('SIGNATURE_REJECTED', (liar) =>
        forwarding(liar, { keyId: liar.signing.keyId }),
      ),
      'signed in the name of the fabric': forge('SIGNATURE_REJECTED', (liar) =>
        forwarding(liar, { keyId: liar.trust.fabricKeyId }),
      ),
      'in the name of another agent': forge('SIGNATURE_REJECTED', (liar) =>
        forwarding(liar, { keyId: liar.signing.keyId, from: agentId('other') }),
      ),
      'without a certificate': (world) =>
        withServing(world, async (port) => {
          const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
          expect(await talk({ port }, bytesOf({ body }, place))).toEqual([])
        }),
    },
    queue: 'members fetch their messages',
  },
)

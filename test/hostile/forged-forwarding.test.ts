import { join } from 'node:path'
import { type Agent, type Identity, openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { agentId, bytesOf, type HeaderList, refusalOf } from '../harness/doors.ts'
import { forwardedBody as body, forwarding } from '../harness/forwarding.ts'
import { talk } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/**
 * An agent that serves by the SDK itself: any client that reaches its port could bypass the fabric.
 */
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
        await world.caller.connection.request({
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

const forge =
  (code: string, headersOf: (attacker: Identity) => HeaderList): Attempt =>
  (world) =>
    withServing(world, async (port) => {
      const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
      const draft = { body, headers: headersOf(world.caller) }
      const credential = world.caller.credential()
      const [heard] = await talk({ port, credential }, bytesOf(draft, place))
      expect(heard && refusalOf(heard)).toBe(code)
    })

attack(
  verifies(
    ['authenticate:identity-headers@mesh', 'authenticate:signature@mesh'],
    'a request that did not come by the fabric is not taken for one that did',
  ),
  {
    gateway: 'tested for callers by forged-identity-header',
    mesh: {
      'without a forwarding': forge('SIGNATURE_MISSING', () => []),
      'by headers alone': forge('SIGNATURE_MISSING', () => [
        ['countersign-from', agentId('operator')],
        ['countersign-to', agentId('serving')],
      ]),
      'signed by the attacker': forge('SIGNATURE_REJECTED', (attacker) =>
        forwarding(attacker, { keyId: attacker.signing.keyId }),
      ),
      'signed in the name of the fabric': forge('SIGNATURE_REJECTED', (attacker) =>
        forwarding(attacker, { keyId: attacker.trust.fabricKeyId }),
      ),
      'in the name of another agent': forge('SIGNATURE_REJECTED', (attacker) =>
        forwarding(attacker, { keyId: attacker.signing.keyId, from: agentId('other') }),
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

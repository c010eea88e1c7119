import type { RefusalCode } from '@countersign/protocol'
import { expect, vi } from 'vitest'
import { MESH_WIRE } from '../../packages/fabric/src/transports/mesh/wire.ts'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { refusalOf, send, sendInTurn } from '../harness/doors.ts'
import { type MaliciousAnswer, openMaliciousServer } from '../harness/malicious-server.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const allowed = 20
const json = ['content-type', 'application/json'] as const

/** Codes that the fabric counts against addresses, or closes connections behind. */
const codes = [
  ...(['CREDENTIAL_MISSING', 'CREDENTIAL_REJECTED', 'CREDENTIAL_EXPIRED'] as const),
  ...(['CREDENTIALS_CONFLICTING', 'AGENT_QUARANTINED', 'AGENT_REVOKED'] as const),
  'MESSAGE_TOO_LARGE',
] as const

const stating = (code: RefusalCode): MaliciousAnswer => ({
  status: MESH_WIRE[code].status,
  headers: [json, ['countersign-refusal', code], ['countersign-may-have-acted', 'false']],
  body: '{}',
})

async function stateEach(world: World): Promise<void> {
  const to = 'states'
  let answer: MaliciousAnswer = { status: 200, headers: [json], body: '{}' }
  const server = await openMaliciousServer(await world.agent(to, ['open']), () => answer)
  try {
    await vi.waitFor(
      async () => expect((await send(world.gateway, { to })).status).toBe(200),
      deadline,
    )
    const { caller } = world
    for (const code of codes) {
      answer = stating(code)
      const drafts = Array.from({ length: allowed + 5 }, () => ({ to }))
      const heard = await sendInTurn(world.gateway, caller.credential(), drafts)
      expect(heard.map(refusalOf), code).toEqual(drafts.map(() => code))
      const closed = heard.filter(({ headers }) => headers.get('connection')?.includes('close'))
      expect(closed, code).toEqual([])
    }
  } finally {
    await server.close()
  }
}

attack(
  verifies(
    ['authorize:rate@gateway'],
    'a receiver that states a rejection neither locks its caller’s address out nor ends its connection',
  ),
  {
    gateway: () =>
      inOwnWorld({ limits: { refusalsPerMinute: allowed }, receivers: ['echo'] }, async (world) => {
        await stateEach(world)
        const stranger = await send(world.gateway, { as: null })
        expect(refusalOf(stranger)).toBe('CREDENTIAL_MISSING')
      }),
    mesh: 'a connector counts no addresses',
    queue: 'the fabric is the receiver',
  },
)

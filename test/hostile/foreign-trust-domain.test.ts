import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { sendAll } from '../harness/doors.ts'
import { refused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'
import { type Forged, forge, forgeDomain } from './tls-forge.ts'

const caller = 'spiffe://countersign.local/agent/caller'
const { intermediate } = forgeDomain()

const forgeries: Readonly<Record<string, () => Forged>> = {
  'of another authority, under our name': () => forge({ issuer: intermediate, uris: [caller] }),
  'of another authority, under its own name': () =>
    forge({ issuer: intermediate, uris: ['spiffe://a.test/agent/caller'] }),
  'of its own making': () => forge({ uris: [caller] }),
  'without a name': () => forge({ issuer: intermediate, uris: [] }),
}

const onGateway = Object.fromEntries(
  Object.entries(forgeries).map(([way, make]) => [
    way,
    refused('gateway', 'CREDENTIAL_REJECTED', () => ({ as: make() })),
  ]),
)

const onMesh = Object.fromEntries(
  Object.entries(forgeries).map(([way, make]): [string, Attempt] => [
    way,
    async (world) => {
      const before = world.echo.reached.length
      expect(await sendAll(world.mesh, { as: make() })).toEqual([])
      expect(world.echo.reached.slice(before)).toEqual([])
    },
  ]),
)

attack(
  verifies(
    ['authenticate:certificate'],
    'a certificate that our authority did not issue is refused',
  ),
  {
    gateway: onGateway,
    mesh: onMesh,
    queue: Object.fromEntries(
      Object.entries(forgeries).map(([way, make]) => [
        way,
        refusedOnQueue('CREDENTIAL_REJECTED', () => ({ as: make() })),
      ]),
    ),
  },
)

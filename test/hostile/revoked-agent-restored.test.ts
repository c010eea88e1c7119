import { expect, vi } from 'vitest'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const inWorld = worldOfFile({ receivers: ['echo'] })

/** By one operation after the other, none of which brings back what was stolen. */
const attempts = [['restore'], ['quarantine', 'restore'], ['revoke', 'restore']]

const staysRevoked =
  (transport: 'gateway' | 'mesh'): Attempt =>
  () =>
    inWorld(async (world) => {
      for (const verbs of attempts) {
        const name = newName('stolen')
        const as = (await world.agent(name, ['caller'])).credential()
        await world.admin('agent.revoke', { name, reason: 'stolen' })
        for (const verb of verbs) {
          const asked = world.admin(`agent.${verb}`, { name, reason: 'found again' })
          if (verb === 'revoke') await asked
          else await expect(asked).rejects.toMatchObject({ code: 'AGENT_REVOKED' })
        }
        for (const made of [
          world.admin('key.create', { agent: name }),
          world.admin('agent.enroll', { name }),
        ]) {
          await expect(made).rejects.toMatchObject({ code: 'AGENT_REVOKED' })
        }
        expect(await world.admin('agent.show', { name })).toMatchObject({ status: 'revoked' })
        const isRefused = async () => {
          const heard = await send(world[transport], { to: 'echo', as })
          expect([heard.status, refusalOf(heard)]).toEqual([403, 'AGENT_REVOKED'])
        }
        // A connector learns of it a moment later.
        await (transport === 'mesh' ? vi.waitFor(isRefused, deadline) : isRefused())
      }
    })

attack(verifies(['revoke:for-good'], 'a revoked name never comes back'), {
  gateway: staysRevoked('gateway'),
  mesh: staysRevoked('mesh'),
  queue: 'the same directory decides',
})

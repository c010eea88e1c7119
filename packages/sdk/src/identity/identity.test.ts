import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import { connect } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { hourMs } from '../../../../test/harness/sdk-authority.ts'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'
import { openAgent } from '../index.ts'

const lab = sdkLab()

describe('renewal', () => {
  async function ageing(refuse?: string) {
    const { agent, dir } = await lab.agentNamed('ageing')
    await agent.close()
    lab.fabric.lifetimeMs = 2 * hourMs
    if (refuse !== undefined) lab.fabric.deviations.refuseRenewal = refuse
    const clock = { now: () => Date.now() + 0.75 * hourMs }
    return { opened: openAgent({ dir, clock }), before: agent.expiresAt(), dir }
  }

  test('happens at the start when half of the lifetime has passed, and is stored', async () => {
    const { opened, before, dir } = await ageing()
    const agent = await opened
    lab.open.push(agent)
    expect(agent.expiresAt()).toBeGreaterThan(before)
    const stored = JSON.parse(await readFile(joinPath(dir, 'agent.json'), 'utf8'))
    expect(stored.granted.expiresAt).toBeGreaterThanOrEqual(agent.expiresAt())
  })

  test('a refused renewal stops the agent with that refusal', async () => {
    const { opened } = await ageing('AGENT_REVOKED')
    expect(await faultOf(opened)).toBe('AGENT_REVOKED')
    expect(lab.fabric.renewals).toBe(1)
  })

  test('a renewal for another agent is not taken over', async () => {
    lab.fabric.deviations.renewAs = 'mallory'
    const faults: Error[] = []
    const { agent } = await lab.agentNamed('fresh', { onFault: (error) => faults.push(error) })
    expect(await faultOf(agent.renew())).toBe('ANSWER_MALFORMED')
    expect(agent.spiffeId).toBe('spiffe://acme.test/agent/fresh')
    expect(faults).toHaveLength(1)
  })

  test('a listener shows the renewed certificate without dropping calls', async () => {
    const { agent } = await lab.agentNamed('rotating')
    const served = await agent.serve(() => new Response('ok'))
    const shown = async () => {
      const socket = connect({
        host: '127.0.0.1',
        port: served.port,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
      })
      await once(socket, 'secureConnect')
      const fingerprint = socket.getPeerX509Certificate()?.fingerprint256
      socket.destroy()
      return fingerprint
    }
    const before = await shown()
    await agent.renew()
    expect(await shown()).not.toBe(before)
    expect((await lab.caller.call('rotating', { body: 'x' })).status).toBe(200)
  })

  test('an expired certificate ends calls with the failure that kept it from being renewed', async () => {
    let now = Date.now()
    const { agent } = await lab.agentNamed('fresh', { clock: { now: () => now } })
    lab.fabric.deviations.refuseRenewal = 'AGENT_QUARANTINED'
    expect(await faultOf(agent.renew())).toBe('AGENT_QUARANTINED')
    now += 2 * hourMs
    const error = await agent.call('pay').catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'IDENTITY_EXPIRED' })
    expect((error as Error).cause).toMatchObject({ code: 'AGENT_QUARANTINED' })
  })
})

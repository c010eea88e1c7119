import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Identity, openIdentity, parseJoin } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { expectRefusal, expectRefused } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const terms = { kind: 'agent', roles: [], segment: '', attributes: {}, ttlSeconds: 60 } as const

function enrol(world: World, line: string, name?: string): Promise<Identity> {
  const dir = join(world.dir, `joining-${randomBytes(4).toString('hex')}`)
  const named = name === undefined ? {} : { name }
  return openIdentity({ join: line, dir, ...named, clock: world.clock, onFault: () => undefined })
}

async function invite(world: World, name: string): Promise<string> {
  return (await world.fabric.invite({ ...terms, name })).join
}

const joins: Readonly<Record<string, Attempt>> = {
  'a second time': async (world) => {
    const line = await invite(world, 'joined-once')
    const first = await enrol(world, line)
    await expectRefusal(world, 'CREDENTIAL_SPENT', () => enrol(world, line))
    const shown = await world.admin('agent.show', { name: 'joined-once' })
    expect(shown).toMatchObject({ enrolled: true })
    await first.renew()
    first.close()
  },
  'twice at once': async (world) => {
    const line = await invite(world, 'joined-twice')
    const all = await Promise.allSettled([enrol(world, line), enrol(world, line)])
    expect(all.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    for (const one of all) if (one.status === 'fulfilled') one.value.close()
  },
  'after its time': async (world) => {
    const line = await invite(world, 'joined-late')
    await expectRefusal(world, 'CREDENTIAL_EXPIRED', () =>
      world.clock.later(61_000, () => enrol(world, line)),
    )
  },
  'under another name, which leaves it good': async (world) => {
    const line = await invite(world, 'joined-by-name')
    await expectRefusal(world, 'CREDENTIAL_REJECTED', () => enrol(world, line, 'joined-by-nane'))
    const identity = await enrol(world, line, 'joined-by-name')
    expect(identity.name).toBe('joined-by-name')
    identity.close()
  },
  'before or after a newer one for the same agent was used': async (world) => {
    const name = 'joined-again'
    const make = async (roles: readonly string[]): Promise<string> => {
      const made = await world.admin('agent.enroll', { name, roles, ttlSeconds: 900 })
      return (made as { join: string }).join
    }
    const first = await make(['caller', 'operator'])
    const second = await make(['caller'])
    await expectRefusal(world, 'CREDENTIAL_REJECTED', () => enrol(world, first))
    const agent = await enrol(world, second)
    const third = await make(['caller'])
    const again = await enrol(world, third)
    await expectRefusal(world, 'CREDENTIAL_REJECTED', () => enrol(world, first))
    await expectRefusal(world, 'CREDENTIAL_SPENT', () => enrol(world, second))
    expect(await world.admin('agent.show', { name })).toMatchObject({ roles: ['caller'] })
    await again.renew()
    agent.close()
    again.close()
  },
  'from before a quarantine, once its agent is restored': async (world) => {
    const name = 'joined-restored'
    const agent = await enrol(world, await invite(world, name))
    const line = await invite(world, name)
    await world.admin('agent.quarantine', { name, reason: 'told to' })
    await world.admin('agent.restore', { name, reason: 'cleared' })
    await expectRefusal(world, 'CREDENTIAL_REJECTED', () => enrol(world, line))
    await agent.renew()
    agent.close()
  },
  'with another secret': async (world) => {
    const line = await invite(world, 'guessed')
    const guessed = line.replace(
      /(csj_[^_.]+_)(.)/,
      (_, head: string, first: string) => `${head}${first === 'A' ? 'B' : 'A'}`,
    )
    expect(guessed).not.toBe(line)
    await expectRefusal(world, 'CREDENTIAL_REJECTED', () => enrol(world, guessed))
  },
  'at a fabric with another root': async (world) => {
    const line = await invite(world, 'misled')
    const root = createHash('sha256').update('another').digest('base64url')
    const misled = line.replace(/\.[^.]*$/, `.${root}`)
    await expect(enrol(world, misled)).rejects.toMatchObject({ code: 'ROOT_MISMATCHED' })
    expect(parseJoin(line).token).toBe(parseJoin(misled).token)
  },
}

/** Values that the token holder may not choose: the name, the keys of others, the proof. */
const forms: Readonly<Record<string, (token: string) => object>> = {
  'into another name': (token) => ({ ...blank(token), name: 'operator' }),
  'into a name that is none': (token) => ({ ...blank(token), name: 'Operator!' }),
  'as another kind': (token) => ({ ...blank(token), kind: 'user', roles: ['operator'] }),
  'without a proof': (token) => blank(token),
}

function blank(token: string): object {
  const bytes = (count: number) => randomBytes(count).toString('base64url')
  return {
    ...{ version: 1, token, tlsKey: bytes(91), signingKey: bytes(32), sealingKey: bytes(32) },
    ...{ tlsProof: bytes(64), signingProof: bytes(64), sealingProof: bytes(32) },
  }
}

const formed = (way: string, form: (token: string) => object): Attempt => {
  const isRead = way === 'without a proof' || way === 'into another name'
  const code = isRead ? 'CREDENTIAL_REJECTED' : 'MESSAGE_MALFORMED'
  return async (world) => {
    const { token } = parseJoin(await invite(world, 'formed'))
    const body = JSON.stringify(form(token))
    const attempt = () => send(world.control, { path: '/v1/enroll', body, as: null })
    await expectRefused(world, 'gateway', { code, attempt })
  }
}

attack(
  verifies(
    ['authenticate:join-once'],
    'a join token that is spent, late, outdated, guessed or stretched is refused',
  ),
  {
    gateway: {
      ...joins,
      ...Object.fromEntries(Object.entries(forms).map(([way, form]) => [way, formed(way, form)])),
    },
    mesh: 'agents enrol at the fabric',
    queue: 'agents enrol at the fabric',
  },
)

import { createHash, generateKeyPairSync } from 'node:crypto'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { agentRecord, putRecord } from '../../../../test/contracts/directory.ts'
import {
  chainOf,
  enrollAgent,
  enrollmentKey,
  enrollmentRequest,
  newAgentSecrets,
  openState,
  openTestIdentity,
  readDirectory,
  recordNothing,
  recordsAll,
  renewalRequest,
} from '../../../../test/contracts/identity-lab.ts'
import { rowsOf } from '../../../../test/contracts/state-rows.ts'
import { systemRandom } from '../lib/random.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Caller } from './caller.ts'
import { createEnrollment } from './enrollment.ts'
import { createGuards } from './guards.ts'
import { createJoinTokens, type JoinTerms } from './join-tokens.ts'
import { Renewals } from './renewals.ts'
import { createDirectory } from './stored-directory.ts'

const unwatched = { record: recordNothing, findNoRoom: recordsAll }

let deps: Awaited<ReturnType<typeof openTestIdentity>>
beforeEach(async () => {
  deps = await openTestIdentity()
})

/** Directory and tokens of a process that starts now. */
async function reopen() {
  const { store, clock } = deps
  const stream = await openState(store, clock)
  const guards = createGuards(stream)
  const directory = createDirectory(stream, guards)
  const random = systemRandom
  return { directory, joinTokens: createJoinTokens({ stream, guards, directory, clock, random }) }
}

async function callerWith(chain: readonly Uint8Array[] | null): Promise<Caller | Refusal | null> {
  return deps.identity.authenticatorOf('certificate')({
    certificateChain: chain,
    bearer: null,
    apiKey: null,
  })
}

async function certificateCaller(chain: readonly Uint8Array[]): Promise<Caller> {
  const caller = await callerWith(chain)
  if (caller === null || caller instanceof Refusal) throw new Error('not a caller')
  return caller
}

test('a rotation of the fabric’s own certificate is announced, so that what it carries goes on', async () => {
  const { server, renewals } = deps.identity
  const leaf = () => createHash('sha256').update(server.current().certificateChain[0] ?? '')
  const [before, { expiresAt }] = [leaf().digest('hex'), server.current()]
  expect(renewals.untilOf(server.spiffeId, before)).toBe(0)
  deps.clock.advance(30 * 60_000)
  await server.rotate()
  await server.rotate()
  expect(server.current().expiresAt).toBeGreaterThan(expiresAt)
  expect(renewals.untilOf(server.spiffeId, before)).toBe(server.current().expiresAt)
  expect(renewals.announced(deps.clock.now())).toMatchObject({
    [before]: server.current().expiresAt,
  })
})

describe('enrolment', () => {
  test('gives the holder of a join token a certificate, and the record that the token states', async () => {
    const alice = await enrollAgent(deps.identity, {
      name: 'alice',
      roles: ['writer'],
      segment: 'lab',
      attributes: { team: 'blue' },
    })
    expect(alice.grant.spiffeId).toBe('spiffe://a.test/agent/alice')
    expect(await callerWith(alice.certificateChain)).toMatchObject({
      name: 'alice',
      kind: 'agent',
      method: 'certificate',
      roles: ['writer'],
      segment: 'lab',
      attributes: { team: 'blue' },
      scopes: null,
    })
    expect(deps.identity.directory.findBySigningKey(alice.grant.signingKeyId)?.name).toBe('alice')
  })

  test('uses a token up: of many at once, one enrols', async () => {
    const { text } = await deps.identity.joinTokens.create({ name: 'alice' })
    const requests = await Promise.all(
      Array.from({ length: 5 }, () => enrollmentRequest(text, newAgentSecrets())),
    )
    const answers = await Promise.all(requests.map((each) => deps.identity.enrollment.enroll(each)))
    const refusals = answers.filter((answer) => answer instanceof Refusal)
    const [winner, ...others] = answers.flatMap((answer) =>
      answer instanceof Refusal ? [] : [answer],
    )
    expect(others).toEqual([])
    expect(refusals.map(({ code }) => code)).toEqual(Array(4).fill('CREDENTIAL_SPENT'))
    expect(deps.identity.directory.find('alice')?.keys?.signing.keyId).toBe(winner?.signingKeyId)
  })

  test('takes no token of before a failover of the state, which may have lost its use', async () => {
    const { joinTokens, enrollment } = deps.identity
    const { text } = await joinTokens.create({ name: 'alice' })
    const history = vi.spyOn(deps.store, 'history').mockReturnValue('another')
    const request = async (of: string) => enrollmentRequest(of, newAgentSecrets())
    const refused = await enrollment.enroll(await request(text))
    expect(refused).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    expect(joinTokens.list()).toMatchObject([{ ended: expect.stringContaining('failed over') }])
    const { text: newer } = await joinTokens.create({ name: 'alice' })
    expect(await enrollment.enroll(await request(newer))).toMatchObject({ name: 'alice' })
    history.mockRestore()
  })

  test('forgets no used token: it is used after a restart as well', async () => {
    const { text } = await deps.identity.joinTokens.create({ name: 'alice' })
    await deps.identity.enrollment.enroll(await enrollmentRequest(text, newAgentSecrets()))
    const rows = await rowsOf(deps.store, 'join-tokens')
    expect(rows.map((row): unknown => JSON.parse(row.value))).toMatchObject([
      { usedAt: deps.clock.now() },
    ])
    expect(rows[0]?.value).not.toContain(text.slice(-43))
  })

  test('goes on after a restart with the tokens and records that were there', async () => {
    const { text } = await deps.identity.joinTokens.create({
      name: 'alice',
      attributes: { b: 1, a: true },
    })
    const { store, clock, identity } = deps
    const { directory, joinTokens } = await reopen()
    const { authority } = identity
    const { privateKey } = enrollmentKey
    const renewals = new Renewals(clock)
    const ports = { authority, directory, joinTokens, clock, renewals, enrollmentKey: privateKey }

    const reopened = createEnrollment({ ...ports, ...unwatched })
    expect(
      await reopened.enroll(await enrollmentRequest(text, newAgentSecrets())),
    ).not.toBeInstanceOf(Refusal)
    expect(await reopened.enroll(await enrollmentRequest(text, newAgentSecrets()))).toBeInstanceOf(
      Refusal,
    )
    // The process that ran before has not seen it, and loses all the same.
    expect(
      await identity.enrollment.enroll(await enrollmentRequest(text, newAgentSecrets())),
    ).toBeInstanceOf(Refusal)
    const another = await readDirectory(store)
    await another.update('alice', (record) => record && { ...record, roles: ['x'] })
    expect((await readDirectory(store)).find('alice')?.roles).toEqual(['x'])
  })

  test('refuses an unknown, a changed and an expired token', async () => {
    const { text } = await deps.identity.joinTokens.create({ name: 'alice', ttlMs: 60_000 })
    const last = text.endsWith('0') ? '1' : '0'
    for (const wrong of [`${text.slice(0, -1)}${last}`, 'csj_x', `csk${text.slice(3)}`]) {
      expect(
        await deps.identity.enrollment.enroll(await enrollmentRequest(wrong, newAgentSecrets())),
      ).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    }
    deps.clock.advance(60_001)
    expect(
      await deps.identity.enrollment.enroll(await enrollmentRequest(text, newAgentSecrets())),
    ).toMatchObject({ code: 'CREDENTIAL_EXPIRED' })
  })

  test('refuses keys that the caller does not hold, and the token stays good', async () => {
    const { text } = await deps.identity.joinTokens.create({ name: 'alice' })
    const honest = await enrollmentRequest(text, newAgentSecrets())
    const other = await enrollmentRequest(text, newAgentSecrets())
    for (const swapped of [
      { ...honest, tlsKey: other.tlsKey },
      { ...honest, signingKey: other.signingKey },
      { ...honest, sealingKey: other.sealingKey },
      { ...honest, tlsProof: other.tlsProof },
      { ...honest, signingProof: other.signingProof },
      { ...honest, sealingProof: other.sealingProof },
    ]) {
      expect(await deps.identity.enrollment.enroll(swapped)).toMatchObject({
        code: 'CREDENTIAL_REJECTED',
      })
    }
    expect(await deps.identity.enrollment.enroll(honest)).not.toBeInstanceOf(Refusal)
  })

  test('refuses a proof made for another token', async () => {
    const secrets = newAgentSecrets()
    const first = await deps.identity.joinTokens.create({ name: 'alice' })
    const second = await deps.identity.joinTokens.create({ name: 'admin', roles: ['admin'] })
    const request = await enrollmentRequest(first.text, secrets)
    expect(await deps.identity.enrollment.enroll({ ...request, token: second.text })).toMatchObject(
      { code: 'CREDENTIAL_REJECTED' },
    )
  })

  test('refuses TLS keys of another kind, and keys whose signatures prove nothing', async () => {
    const { text } = await deps.identity.joinTokens.create({ name: 'alice' })
    const honest = await enrollmentRequest(text, newAgentSecrets())
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({
      type: 'spki',
      format: 'der',
    })
    const neutral = Buffer.alloc(32)
    neutral[0] = 1
    for (const change of [
      { tlsKey: p384.toString('base64url') },
      { tlsKey: 'AAAA' },
      { signingKey: neutral.toString('base64url') },
    ]) {
      expect(await deps.identity.enrollment.enroll({ ...honest, ...change })).toMatchObject({
        code: 'CREDENTIAL_REJECTED',
      })
    }
  })

  test('refuses a signing key that is already the key of another agent', async () => {
    const secrets = newAgentSecrets()
    const enroll = async (name: string) => {
      const { text } = await deps.identity.joinTokens.create({ name })
      return deps.identity.enrollment.enroll(await enrollmentRequest(text, secrets))
    }
    expect(await enroll('alice')).not.toBeInstanceOf(Refusal)
    expect(await enroll('bob')).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    expect(deps.identity.directory.find('bob')).toBeNull()
  })

  test('does not bring a quarantined agent back', async () => {
    await enrollAgent(deps.identity, { name: 'alice' })
    await deps.identity.setStatus('alice', 'quarantined', 'odd')
    const { text } = await deps.identity.joinTokens.create({ name: 'alice' })
    expect(
      await deps.identity.enrollment.enroll(await enrollmentRequest(text, newAgentSecrets())),
    ).toMatchObject({ code: 'AGENT_QUARANTINED' })
    expect(deps.identity.directory.find('alice')?.status).toBe('quarantined')
  })

  test('answers a body that is not a request with a refusal', async () => {
    for (const body of [null, 7, {}, [], { version: 1, token: 'x' }]) {
      expect(await deps.identity.enrollment.enroll(body)).toMatchObject({
        code: 'MESSAGE_MALFORMED',
      })
    }
  })
})

describe('renewal', () => {
  test('gives a new certificate of the same identity to the holder of a live one', async () => {
    const alice = await enrollAgent(deps.identity, { name: 'alice' })
    const caller = await certificateCaller(alice.certificateChain)
    deps.clock.advance(1_800_000)
    const grant = await deps.identity.enrollment.renew(
      caller,
      renewalRequest(caller.credentialId, newAgentSecrets().tls),
    )
    if (grant instanceof Refusal) throw new Error(grant.detail)
    expect(grant.expiresAt - alice.grant.expiresAt).toBe(1_800_000)
    expect(await certificateCaller(chainOf(grant))).toMatchObject({ principal: caller.principal })
  })

  test('refuses proofs for another certificate, other methods, and agents that are not active', async () => {
    const alice = await enrollAgent(deps.identity, { name: 'alice' })
    const caller = await certificateCaller(alice.certificateChain)
    const { tls } = newAgentSecrets()
    const good = renewalRequest(caller.credentialId, tls)
    const renew = (who: Caller, body: unknown) => deps.identity.enrollment.renew(who, body)
    expect(await renew(caller, renewalRequest('00'.repeat(32), tls))).toMatchObject({
      code: 'CREDENTIAL_REJECTED',
    })
    expect(await renew({ ...caller, method: 'token' }, good)).toMatchObject({
      code: 'CREDENTIAL_REJECTED',
    })
    await deps.identity.setStatus('alice', 'revoked', 'stolen')
    expect(await renew(caller, good)).toMatchObject({ code: 'AGENT_REVOKED' })
  })
})

describe('a certificate', () => {
  test('is worth nothing in quarantine, after revocation and after its time', async () => {
    const alice = await enrollAgent(deps.identity, { name: 'alice' })
    await deps.identity.setStatus('alice', 'quarantined', 'odd')
    expect(await callerWith(alice.certificateChain)).toMatchObject({ code: 'AGENT_QUARANTINED' })
    await deps.identity.setStatus('alice', 'active', 'again')
    expect(await callerWith(alice.certificateChain)).toMatchObject({ name: 'alice' })
    await deps.identity.setStatus('alice', 'revoked', 'stolen')
    expect(await callerWith(alice.certificateChain)).toMatchObject({ code: 'AGENT_REVOKED' })
    const bob = await enrollAgent(deps.identity, { name: 'bob' })
    deps.clock.advance(3_600_000 + 21_000)
    expect(await callerWith(bob.certificateChain)).toMatchObject({ code: 'CREDENTIAL_EXPIRED' })
  })

  test('of the fabric, of a user by an agent’s name, or of an unknown agent is not a caller', async () => {
    await enrollAgent(deps.identity, { name: 'alice' })
    for (const spiffeId of [
      'spiffe://a.test/fabric/gateway',
      'spiffe://a.test/user/alice',
      'spiffe://a.test/agent/eve',
    ]) {
      const tlsPublicKey = Buffer.from(
        (await enrollmentRequest('t', newAgentSecrets())).tlsKey,
        'base64url',
      )
      const { certificateChain } = await deps.identity.authority.issue({
        spiffeId,
        tlsPublicKey: new Uint8Array(tlsPublicKey),
      })
      expect(await callerWith(certificateChain)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    }
    expect(await callerWith(null)).toBeNull()
  })

  test('an enrolment that comes while a certificate is issued ends the renewal [revoke:enrolment]', async () => {
    const alice = await enrollAgent(deps.identity, { name: 'alice', roles: [] })
    const caller = await certificateCaller(alice.certificateChain)
    const { authority, directory, joinTokens, renewals } = deps.identity
    const enrollment = createEnrollment({
      ...{ directory, joinTokens, renewals, clock: deps.clock },
      enrollmentKey: enrollmentKey.privateKey,
      ...unwatched,
      authority: {
        ...authority,
        async issue(request) {
          const issued = await authority.issue(request)
          await enrollAgent(deps.identity, { name: 'alice', roles: [] })
          return issued
        },
      },
    })
    const order = renewalRequest(caller.credentialId, newAgentSecrets().tls)
    expect(await enrollment.renew(caller, order)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    expect(await deps.identity.enrollment.renew(caller, order)).toMatchObject({
      code: 'CREDENTIAL_REJECTED',
    })
  })
})

test('an authority that gives no certificate makes none of its bytes the newest of an agent', async () => {
  const { authority, directory, joinTokens, renewals } = deps.identity
  const { text } = await joinTokens.create({ name: 'alice' })
  let fingerprint = ''
  const enrollment = createEnrollment({
    ...{ directory, joinTokens, renewals, clock: deps.clock },
    enrollmentKey: enrollmentKey.privateKey,
    ...unwatched,
    authority: {
      ...authority,
      async issue(order) {
        const issued = await authority.issue(order)
        fingerprint = issued.fingerprint
        return { ...issued, certificateChain: [] }
      },
    },
  })
  await enrollment.enroll(await enrollmentRequest(text, newAgentSecrets()))
  const nothing = createHash('sha256').digest('hex')
  const alice = 'spiffe://a.test/agent/alice'
  expect(renewals.mayRenew(alice, nothing)).toBe(false)
  expect(renewals.mayRenew(alice, fingerprint)).toBe(true)
})

describe('an older join token', () => {
  const make = async (terms: JoinTerms) => (await deps.identity.joinTokens.create(terms)).text
  const use = async (text: string) =>
    deps.identity.enrollment.enroll(await enrollmentRequest(text, newAgentSecrets()))
  const rolesOf = (name: string) => deps.identity.directory.find(name)?.roles
  const rejected = (detail: string) => ({
    code: 'CREDENTIAL_REJECTED',
    detail: expect.stringContaining(detail),
  })

  test('is ended by a newer one for the same agent, and by no other', async () => {
    const first = await make({ name: 'alice', roles: ['caller', 'operator'] })
    const second = await make({ name: 'alice', roles: ['caller'] })
    const other = await make({ name: 'bob' })
    expect(await use(first)).toMatchObject(rejected('a newer one was made'))
    expect(rolesOf('alice')).toBeUndefined()
    expect(await use(second)).not.toBeInstanceOf(Refusal)
    expect(await use(first)).toMatchObject(rejected('a newer one was made'))
    expect(rolesOf('alice')).toEqual(['caller'])
    expect(await use(other)).not.toBeInstanceOf(Refusal)
  })

  test('is refused as outdated when its agent has enrolled since, however it came to that', async () => {
    const text = await make({ name: 'alice', roles: ['operator'] })
    const { directory } = deps.identity
    await putRecord(directory, agentRecord('alice', { generation: 1 }))
    expect(await use(text)).toMatchObject(rejected('was enrolled since'))
    expect(directory.find('alice')?.generation).toBe(1)
  })

  test('does not outlast the quarantine of its agent, also when it is restored', async () => {
    await enrollAgent(deps.identity, { name: 'alice', roles: [] })
    const before = await make({ name: 'alice', roles: ['operator'] })
    const other = await make({ name: 'bob' })
    await deps.identity.setStatus('alice', 'quarantined', 'odd')
    const after = await make({ name: 'alice', roles: ['caller'] })
    await deps.identity.setStatus('alice', 'active', '')
    expect(await use(before)).toMatchObject(rejected('was quarantined since'))
    expect(rolesOf('alice')).toEqual([])
    // Its operator made it knowing what happened.
    expect(await use(after)).not.toBeInstanceOf(Refusal)
    expect(await use(other)).not.toBeInstanceOf(Refusal)
  })

  test.each(['quarantined', 'revoked'] as const)(
    'ends when its agent is %s, and its refusal names the reason',
    async (status) => {
      await enrollAgent(deps.identity, { name: 'alice', roles: [] })
      const text = await make({ name: 'alice', roles: ['operator'] })
      await deps.identity.setStatus('alice', status, 'odd')
      const back = await deps.identity.setStatus('alice', 'active', '')
      expect(back?.status).toBe(status === 'revoked' ? 'revoked' : 'active')
      expect(await use(text)).toMatchObject(rejected(`was ${status} since`))
      expect(rolesOf('alice')).toEqual([])
    },
  )

  test('stays ended after a restart, and one of an earlier version is refused with what to do', async () => {
    const { store, clock } = deps
    const first = await make({ name: 'alice' })
    const second = await make({ name: 'alice' })
    for (const { key, value } of await rowsOf(store, 'join-tokens')) {
      const { generation, ...earlier } = JSON.parse(value) as { generation: number }
      expect(generation).toBe(0)
      await store.commit([{ table: 'join-tokens', key, value: JSON.stringify(earlier) }])
    }
    const { directory, joinTokens } = await reopen()
    const { authority, renewals } = deps.identity
    const enrollment = createEnrollment({
      ...{ authority, directory, joinTokens, renewals, clock },
      enrollmentKey: enrollmentKey.privateKey,
      ...unwatched,
    })
    const reuse = async (text: string) =>
      enrollment.enroll(await enrollmentRequest(text, newAgentSecrets()))
    expect(await reuse(first)).toMatchObject(rejected('a newer one was made'))
    expect(await reuse(second)).toMatchObject(rejected('make a new one'))
    expect(directory.find('alice')).toBeNull()
    for (const { id } of joinTokens.list()) expect(await joinTokens.remove(id)).toBe(true)
    expect(await rowsOf(store, 'join-tokens')).toEqual([])
  })

  test('of many that are made and used at once, at most the last decision stands', async () => {
    const orders = Array.from({ length: 6 }, (_, at) => make({ name: 'alice', roles: [`r${at}`] }))
    const texts = await Promise.all(orders)
    const answers = await Promise.all(texts.map((text) => use(text)))
    expect(answers.map((answer) => answer instanceof Refusal)).toEqual([
      ...Array<boolean>(5).fill(true),
      false,
    ])
    expect(rolesOf('alice')).toEqual(['r5'])
  })
})

describe('an enrolment that waits', () => {
  /** Enrols alice, and does something else while her certificate is issued. */
  async function enrolWhile(meanwhile: () => Promise<unknown>) {
    const { authority, directory, joinTokens, renewals } = deps.identity
    const { text } = await joinTokens.create({ name: 'alice' })
    const request = await enrollmentRequest(text, newAgentSecrets())
    const enrollment = createEnrollment({
      ...{ directory, joinTokens, renewals, clock: deps.clock },
      enrollmentKey: enrollmentKey.privateKey,
      ...unwatched,
      authority: {
        ...authority,
        async issue(order) {
          const issued = await authority.issue(order)
          await meanwhile()
          return issued
        },
      },
    })
    return { answer: await enrollment.enroll(request), again: () => enrollment.enroll(request) }
  }

  test('is refused when its token has ended meanwhile', async () => {
    const { answer } = await enrolWhile(async () => deps.clock.advance(24 * 3_600_000))
    expect(answer).toMatchObject({ code: 'CREDENTIAL_EXPIRED' })
    expect(deps.identity.directory.find('alice')).toBeNull()
  })

  test('is refused when its token was taken back meanwhile', async () => {
    const { answer } = await enrolWhile(async () => {
      for (const { id } of deps.identity.joinTokens.list())
        await deps.identity.joinTokens.remove(id)
    })
    expect(answer).toBeInstanceOf(Refusal)
    expect(deps.identity.directory.find('alice')).toBeNull()
  })

  test('is refused when its agent was revoked, or enrolled by another, meanwhile', async () => {
    const { answer } = await enrolWhile(async () => {
      await enrollAgent(deps.identity, { name: 'alice', roles: [] })
    })
    expect(answer).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    expect(deps.identity.directory.find('alice')?.generation).toBe(1)
    const revoked = await enrolWhile(() => deps.identity.setStatus('alice', 'revoked', 'told to'))
    expect(revoked.answer).toMatchObject({ code: 'AGENT_REVOKED' })
  })
})

import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest'
import {
  chainOf,
  enrollAgent,
  enrollmentRequest,
  newAgentSecrets,
  openTestIdentity,
  readDirectory,
  renewalRequest,
} from '../../../../test/contracts/identity-lab.ts'
import { rowsOf } from '../../../../test/contracts/state-rows.ts'
import { deadline } from '../../../../test/harness/deadline.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Caller } from './caller.ts'
import type { Authority } from './certificate-authority.ts'
import type { CertificateFacts, RecordCertificate } from './enrollment.ts'

const full = new Refusal('LEDGER_UNAVAILABLE', 'the disk is full', 1000)

let lab: Awaited<ReturnType<typeof openTestIdentity>>
let recorded: CertificateFacts[]
/** Replaced by tests of a ledger that fails, or that the process does not survive. */
let record: RecordCertificate

const takesAll: RecordCertificate = (certificate) => {
  recorded.push(certificate)
  return Promise.resolve(null)
}

let issue: MockInstance<Authority['issue']>

beforeEach(async () => {
  recorded = []
  record = takesAll
  lab = await openTestIdentity(undefined, (certificate) => record(certificate))
})

afterEach(() => {
  vi.restoreAllMocks()
})

async function joinAs(name: string) {
  const { text, token } = await lab.identity.joinTokens.create({ name, roles: ['new'] })
  const body = await enrollmentRequest(text, newAgentSecrets())
  return { id: token.id, enroll: () => lab.identity.enrollment.enroll(body) }
}

/** Waits until `count` enrolments have their certificates, and want to be recorded. */
async function issued(count: number): Promise<void> {
  const { results } = issue.mock
  await vi.waitFor(() => expect(results).toHaveLength(count), deadline)
  await Promise.all(results.map(({ value }) => value as unknown))
}

/** The state as another process finds it that starts in this moment. */
async function durable(name: string, id: string) {
  const tokens = await rowsOf(lab.store, 'join-tokens')
  const token = JSON.parse(tokens.find(({ key }) => key === id)?.value ?? '{}') as object
  return { record: (await readDirectory(lab.store)).find(name), token }
}

async function callerOf(chain: readonly Uint8Array[]): Promise<Caller> {
  const presented = { certificateChain: chain, bearer: null, apiKey: null }
  const caller = await lab.identity.authenticatorOf('certificate')(presented)
  if (caller === null || caller instanceof Refusal) throw new Error('not a caller')
  return caller
}

describe('an enrolment is on record before it takes effect [record:certificates]', () => {
  test('while its entry is written nothing has changed, nor after a crash', async () => {
    const { id, enroll } = await joinAs('alice')
    const states: unknown[] = []
    record = async (certificate) => {
      states.push(lab.identity.directory.find('alice'), await durable('alice', id))
      return takesAll(certificate)
    }
    const grant = await enroll()
    expect(states).toEqual([
      null,
      { record: null, token: expect.objectContaining({ usedAt: null }) },
    ])
    if (grant instanceof Refusal) throw new Error(grant.detail)
    expect(recorded).toEqual([
      { event: 'enrolled', agent: grant.spiffeId, 'expires-at': grant.expiresAt },
    ])
    expect(await durable('alice', id)).toMatchObject({
      record: { name: 'alice' },
      token: { usedAt: lab.clock.now() },
    })
  })

  test('one that cannot be recorded changes nothing, and its join string stays good', async () => {
    const before = await enrollAgent(lab.identity, { name: 'alice', roles: ['old'] })
    const ended: string[] = []
    lab.identity.onEnrolledAgain((name) => ended.push(name))
    const changed: string[] = []
    lab.identity.directory.onChange(({ name }) => changed.push(name))
    const { id, enroll } = await joinAs('alice')
    record = () => Promise.resolve(full)
    expect(await enroll()).toBe(full)
    record = () => Promise.reject(new Error('the ledger stopped for good'))
    await expect(enroll()).rejects.toThrow('stopped for good')
    expect(await callerOf(before.certificateChain)).toMatchObject({ roles: ['old'] })
    expect(await durable('alice', id)).toMatchObject({
      record: { roles: ['old'], generation: 1 },
      token: { usedAt: null },
    })
    expect([ended, changed]).toEqual([[], []])
    record = takesAll
    expect(await enroll()).not.toBeInstanceOf(Refusal)
    expect([ended, changed]).toEqual([['alice'], ['alice']])
  })

  test('of many with one join string, the one that is admitted has the only entry', async () => {
    const { enroll } = await joinAs('alice')
    const answers = await Promise.all(Array.from({ length: 5 }, enroll))
    expect(answers.filter((answer) => !(answer instanceof Refusal))).toHaveLength(1)
    expect(recorded).toHaveLength(1)
  })

  test('a quarantine waits behind one enrolment that cannot be recorded, and not behind many', async () => {
    await enrollAgent(lab.identity, { name: 'evil' })
    issue = vi.spyOn(lab.identity.authority, 'issue')
    const joining = await Promise.all(['alice', 'bob', 'carol'].map(joinAs))
    const writing = Promise.withResolvers<Refusal>()
    let asked = 0
    record = () => {
      asked += 1
      return asked === 1 ? writing.promise : new Promise(() => undefined)
    }
    for (const { enroll } of joining) {
      for (let copy = 0; copy < 5; copy++) void enroll()
    }
    await issued(15)
    await vi.waitFor(() => expect(asked).toBe(1), deadline)
    const quarantined = lab.identity.setStatus('evil', 'quarantined', 'a test')
    writing.resolve(full)
    expect(await quarantined).toMatchObject({ status: 'quarantined' })
  })

  test('of many with one join string, one asks a ledger that cannot record', async () => {
    issue = vi.spyOn(lab.identity.authority, 'issue')
    const { enroll } = await joinAs('alice')
    const writing = Promise.withResolvers<Refusal>()
    let asked = 0
    record = () => {
      asked += 1
      return writing.promise
    }
    const answers = Promise.all(Array.from({ length: 10 }, enroll))
    await issued(10)
    await vi.waitFor(() => expect(asked).toBe(1), deadline)
    writing.resolve(full)
    const codes = (await answers).map((answer) => (answer instanceof Refusal ? answer.code : null))
    expect(codes.filter((code) => code === 'LEDGER_UNAVAILABLE')).toHaveLength(1)
    expect(codes.filter((code) => code === 'UNDECIDED')).toHaveLength(9)
    expect(asked).toBe(1)
    record = takesAll
    expect(await enroll()).not.toBeInstanceOf(Refusal)
  })

  test('one that is refused has no entry, also where its signing key is of another', async () => {
    const secrets = newAgentSecrets()
    const enrollWith = async (name: string) => {
      const { text } = await lab.identity.joinTokens.create({ name })
      return lab.identity.enrollment.enroll(await enrollmentRequest(text, secrets))
    }
    expect(await enrollWith('alice')).not.toBeInstanceOf(Refusal)
    expect(await enrollWith('bob')).toBeInstanceOf(Refusal)
    expect(recorded.map(({ agent }) => agent)).toEqual(['spiffe://a.test/agent/alice'])
  })
})

describe('a renewal is on record before it takes effect [record:certificates]', () => {
  async function renewing() {
    const { certificateChain, grant } = await enrollAgent(lab.identity, { name: 'alice' })
    const caller = await callerOf(certificateChain)
    recorded = []
    lab.clock.advance(60_000)
    const renew = () => {
      const body = renewalRequest(caller.credentialId, newAgentSecrets().tls)
      return lab.identity.renew({ certificateChain, bearer: null, apiKey: null }, body)
    }
    const { renewals } = lab.identity
    return {
      renew,
      until: () => renewals.untilOf(caller.principal, caller.credentialId),
      first: grant,
    }
  }

  test('while its entry is written, no stream goes on longer', async () => {
    const { renew, until, first } = await renewing()
    const states: unknown[] = []
    record = (certificate) => {
      states.push(until())
      return takesAll(certificate)
    }
    const grant = await renew()
    if (grant instanceof Refusal) throw new Error(grant.detail)
    expect(states).toEqual([first.expiresAt])
    expect(until()).toBe(grant.expiresAt)
    expect(recorded).toEqual([
      { event: 'renewed', agent: grant.spiffeId, 'expires-at': grant.expiresAt },
    ])
  })

  test('one that cannot be recorded changes nothing, and the certificate can be renewed', async () => {
    const { renew, until, first } = await renewing()
    record = () => Promise.resolve(full)
    expect(await renew()).toBe(full)
    record = () => Promise.reject(new Error('the ledger stopped for good'))
    await expect(renew()).rejects.toThrow('stopped for good')
    expect(until()).toBe(first.expiresAt)
    record = takesAll
    const grant = await renew()
    if (grant instanceof Refusal) throw new Error(grant.detail)
    expect(await callerOf(chainOf(grant))).toMatchObject({ name: 'alice' })
  })

  test('a quarantine or an enrolment while its entry is written ends it', async () => {
    const { renew, until, first } = await renewing()
    record = async (certificate) => {
      await lab.identity.setStatus('alice', 'quarantined', 'a test')
      return takesAll(certificate)
    }
    expect(await renew()).toMatchObject({ code: 'AGENT_QUARANTINED' })
    record = takesAll
    await lab.identity.setStatus('alice', 'active', '')
    record = async ({ event }) => {
      if (event === 'renewed') await enrollAgent(lab.identity, { name: 'alice' })
      return null
    }
    expect(await renew()).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    expect(until()).not.toBeGreaterThan(first.expiresAt)
  })

  test('is of the certificate that the connection showed, whatever else came with it', async () => {
    const { renew } = await renewing()
    expect(await renew()).not.toBeInstanceOf(Refusal)
    const nothing = { certificateChain: null, bearer: 'a.b.c', apiKey: 'csk_a_b' }
    const refusal = await lab.identity.renew(nothing, {})
    expect(refusal).toMatchObject({ code: 'CREDENTIAL_MISSING' })
    expect(recorded).toHaveLength(1)
  })
})

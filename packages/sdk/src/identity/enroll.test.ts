import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TestAuthority, trustDomain } from '../../../../test/harness/sdk-authority.ts'
import { TestFabric } from '../../../../test/harness/sdk-fabric.ts'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'
import { formatJoin, openAgent, parseJoin, RefusedError, readTrust } from '../index.ts'

const lab = sdkLab()

describe('enrolment', () => {
  test('makes keys that only their owner can read, and reopens without a join string', async () => {
    const { agent, dir } = await lab.agentNamed('fresh')
    expect(agent.spiffeId).toBe('spiffe://acme.test/agent/fresh')
    expect((await stat(joinPath(dir, 'agent.json'))).mode & 0o777).toBe(0o600)
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
    const again = await openAgent({ dir })
    lab.open.push(again)
    expect(again.spiffeId).toBe(agent.spiffeId)
    expect(lab.fabric.enrolments).toBe(1)
  })

  test('a wrong root fingerprint stops before the token is sent', async () => {
    const right = parseJoin(lab.fabric.join('invoice'))
    const join = formatJoin({ ...right, rootSha256: new Uint8Array(32).fill(7) })
    expect(await faultOf(openAgent({ join, dir: joinPath(lab.base, 'x') }))).toBe('ROOT_MISMATCHED')
    expect(await faultOf(readTrust(join))).toBe('ROOT_MISMATCHED')
    expect(lab.fabric.enrolments).toBe(0)
  })

  test('a listener that shows the right root but cannot use its key is not believed', async () => {
    const stranger = await TestAuthority.create()
    const imitation = await TestFabric.start(
      await stranger.credential(`spiffe://${trustDomain}/fabric/one`),
    )
    try {
      imitation.deviations.trust = (document) => {
        Object.assign(document, lab.fabric.trustDocument())
      }
      const join = formatJoin({ ...parseJoin(lab.fabric.join('invoice')), url: imitation.url })
      expect(await faultOf(openAgent({ join, dir: joinPath(lab.base, 'x') }))).toBe(
        'ROOT_MISMATCHED',
      )
    } finally {
      await imitation.stop()
    }
  })

  test('an agent of the trust domain cannot pass as its fabric', async () => {
    const imitation = await TestFabric.start(
      await lab.fabric.authority.credential(`spiffe://${trustDomain}/agent/mallory`),
    )
    try {
      imitation.deviations.trust = (document) => {
        Object.assign(document, lab.fabric.trustDocument())
      }
      const join = formatJoin({ ...parseJoin(lab.fabric.join('invoice')), url: imitation.url })
      expect(await faultOf(readTrust(join))).toBe('ROOT_MISMATCHED')
    } finally {
      await imitation.stop()
    }
  })

  test('a spent token is refused with the code of the fabric and a next step', async () => {
    const join = lab.fabric.join('invoice')
    lab.open.push(await openAgent({ join, dir: joinPath(lab.base, 'first') }))
    const error = await openAgent({ join, dir: joinPath(lab.base, 'second') }).catch(
      (e: unknown) => e,
    )
    expect(error).toBeInstanceOf(RefusedError)
    expect(error).toMatchObject({ code: 'CREDENTIAL_REJECTED', retry: false, status: 401 })
    expect((error as RefusedError).message).toContain('Next:')
  })

  test('keys that others can read, and files that were changed, are not used', async () => {
    const { agent, dir } = await lab.agentNamed('fresh')
    await agent.close()
    const file = joinPath(dir, 'agent.json')
    const good = await readFile(file, 'utf8')
    await rm(file)
    await writeFile(file, good, { mode: 0o644 })
    expect(await faultOf(openAgent({ dir }))).toBe('IDENTITY_DAMAGED')
    await rm(file)
    await writeFile(file, good.slice(0, 100), { mode: 0o600 })
    expect(await faultOf(openAgent({ dir }))).toBe('IDENTITY_DAMAGED')
  })

  test('a later join string of the same fabric only supplies its address, one of another is refused', async () => {
    const { agent, dir } = await lab.agentNamed('fresh')
    await agent.close()
    const again = await openAgent({ dir, join: lab.fabric.join('other') })
    lab.open.push(again)
    expect(again.name).toBe('fresh')
    expect(lab.fabric.enrolments).toBe(1)
    const join = formatJoin({ ...parseJoin(lab.fabric.join('x')), rootSha256: new Uint8Array(32) })
    expect(await faultOf(openAgent({ dir, join }))).toBe('ROOT_MISMATCHED')
  })

  test('without identity and join string the error names the missing one', async () => {
    expect(await faultOf(openAgent({ dir: joinPath(lab.base, 'none') }))).toBe('JOIN_MISSING')
  })
})

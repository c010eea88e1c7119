import { Buffer } from 'node:buffer'
import { formatVkey, parseTrust, parseVkey, RECEIPT_FAULTS } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { otherFabric } from '../../../../test/harness/trusts.ts'
import vector from '../../../protocol/vectors/receipt.json' with { type: 'json' }
import { createTerminal } from './output/terminal.ts'
import { formatVerification, verifyInSteps } from './verification.ts'

const trust = parseTrust(vector.trust)
const receipt = new Uint8Array(Buffer.from(vector.receipt, 'base64'))
const screen = { write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

const context = { trustFingerprint: 'SHA256:x', matches: [], published: null }

describe('the report about a receipt', () => {
  test('shows first how it ended, then who attested each half [receipt:ending]', async () => {
    const report = formatVerification(await verifyInSteps(receipt, trust), context, terminal)
    expect(report).toContain('spiffe://acme.test/agent/invoice')
    expect(report).toMatch(/^ended +delivered: the response was handed to the caller\n/)
    expect(report).toContain('signed by the receiver, with its own key')
    expect(report.match(/✓/g)).toHaveLength(11)
    expect(report.endsWith('verified')).toBe(true)
  })

  test('stops at what failed, and claims nothing about what was not reached', async () => {
    const slots = trust.slots.map((slot) => ({ ...slot, origin: 'other.test' }))
    const otherLog = { ...trust, slots }
    const verification = await verifyInSteps(receipt, otherLog)
    expect(verification.failure?.code).toBe('ORIGIN_UNTRUSTED')
    expect(verification.steps.map(({ outcome }) => outcome)).toEqual([
      'passed',
      'failed',
      ...Array.from({ length: 9 }, () => 'not reached'),
    ])
    const report = formatVerification(verification, context, terminal)
    expect(report).toContain(`not verified: ORIGIN_UNTRUSTED: ${RECEIPT_FAULTS.ORIGIN_UNTRUSTED}`)
    expect(report).not.toContain('\nverified')
  })

  test('marks no key as trusted when the trust is of another fabric of the same name', async () => {
    const [log] = trust.slots
    const vkey = formatVkey({ ...parseVkey(log?.vkey ?? ''), publicKey: trust.fabricKey })
    const verification = await verifyInSteps(receipt, otherFabric(trust, { vkey }))
    expect(verification.failure?.code).toBe('CHECKPOINT_REJECTED')
    const passed = verification.steps.filter(({ outcome }) => outcome === 'passed')
    expect(formatVerification(verification, context, terminal)).toContain('they may be two fabrics')
    expect(passed.map(({ says }) => says).join('\n')).not.toMatch(/is of the trusted|key/)
  })

  test('finds a step for whatever was changed in the file', async () => {
    for (let at = 0; at < receipt.length; at += 97) {
      const changed = receipt.with(at, (receipt[at] ?? 0) ^ 1)
      const { verified, steps } = await verifyInSteps(changed, trust)
      expect(verified, `byte ${at}`).toBeNull()
      expect(steps.filter(({ outcome }) => outcome === 'failed')).toHaveLength(1)
    }
  })
})

import {
  compareMessage,
  parseBase64,
  parseTrust,
  RECEIPT_FAULTS,
  ReceiptError,
  type ReceiptFault,
  verifyReceipt,
} from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import vector from '../../../protocol/vectors/receipt.json' with { type: 'json' }
import { reportFault, reportUntrusted, reportVerified } from './report.ts'

const trust = parseTrust(vector.trust)

async function reportOf(base64: string) {
  return reportVerified(await verifyReceipt(parseBase64(base64) ?? new Uint8Array(0), trust))
}

describe('the report on a receipt', () => {
  test('names the caller, the receiver, the operation, the time and the signers', async () => {
    const report = await reportOf(vector.receipt)
    expect(report).toMatchObject({ verified: true, title: 'Verified and countersigned' })
    expect(report.sentence).toBe(
      'Ended: delivered: the response was handed to the caller. ' +
        'spiffe://acme.test/agent/invoice asked pay for SendMessage on 2025-10-09 08:53:20 UTC.',
    )
    expect(report.checks.every(({ state }) => state === 'passed')).toBe(true)
    const lines = report.sections.flatMap((section) => section.lines)
    expect(lines).toContainEqual({
      label: 'Response',
      value: 'Signed by the receiver, with its own key',
    })
    expect(lines).toContainEqual({ label: 'private.x', value: '(withheld)' })
    expect(lines).toContainEqual({ label: 'Facts', value: '17 opened, 1 withheld' })
  })

  test('names the version of a trust file of an earlier one, and what to do', () => {
    const reportOfTrust = (text: string) => {
      try {
        parseTrust(text)
      } catch (cause) {
        return reportUntrusted(cause)
      }
      throw new Error('the trust file was read')
    }
    const former = reportOfTrust(vector.trust.replace('"v": 3', '"v": 2'))
    expect(former).toMatchObject({ verified: false, checks: [] })
    expect(former.sentence).toMatch(/has version 2, .*: take it from the fabric again/)
    expect(reportOfTrust('{}').sentence).toBe(
      'The trust file could not be read, so nothing can be checked against it.',
    )
  })

  test('reports whether the message that is given is the one on record', async () => {
    const receipt = await verifyReceipt(parseBase64(vector.receipt) ?? new Uint8Array(0), trust)
    const body = (text: string) => new TextEncoder().encode(text)
    const same = await compareMessage(receipt, 'request', body('{"invoice":4411}'))
    const other = await compareMessage(receipt, 'response', body('{"paid":false}'))
    expect([same, other]).toEqual(['same', 'other'])
    const report = reportVerified(receipt, [
      { half: 'request', match: same },
      { half: 'response', match: other },
    ])
    expect(report).toMatchObject({ verified: false, title: 'Verified, but not of this message' })
  })

  test('states that a part may be missing of a response without an end of its own', async () => {
    const receipt = await verifyReceipt(parseBase64(vector.receipt) ?? new Uint8Array(0), trust)
    expect(receipt.responseEnd).toBeNull()
    const report = reportVerified({ ...receipt, responseEnd: 'connection' })
    expect(report.sentence).toContain('a part of the response may be missing')
  })

  test('does not call a refusal countersigned', async () => {
    const report = await reportOf(vector.refusal)
    expect(report.title).toBe('Verified')
    expect(report.sentence).toMatch(/^Ended: refused: NOT_PERMITTED/)
  })

  test('names one failed check for every fault, and relies on no other', () => {
    for (const code of Object.keys(RECEIPT_FAULTS) as ReceiptFault[]) {
      const { verified, checks, sentence } = reportFault(new ReceiptError(code))
      expect(verified).toBe(false)
      expect(checks.filter(({ state }) => state === 'failed')).toHaveLength(1)
      expect(checks.some(({ state }) => state === 'passed')).toBe(false)
      expect(sentence).toContain(RECEIPT_FAULTS[code])
    }
  })
})

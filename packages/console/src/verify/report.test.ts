import {
  parseBase64,
  parseTrust,
  RECEIPT_FAULTS,
  ReceiptError,
  type ReceiptFault,
  verifyReceipt,
} from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import vector from '../../../protocol/vectors/receipt.json' with { type: 'json' }
import { reportFault, reportVerified } from './report.ts'

const trust = parseTrust(vector.trust)

async function reportOf(base64: string) {
  return reportVerified(await verifyReceipt(parseBase64(base64) ?? new Uint8Array(0), trust))
}

describe('the report on a receipt', () => {
  test('says who asked whom for what, when, and who signed', async () => {
    const report = await reportOf(vector.receipt)
    expect(report).toMatchObject({ verified: true, title: 'Verified and countersigned' })
    expect(report.sentence).toBe(
      'spiffe://acme.test/agent/invoice asked pay for SendMessage on 2025-10-09 08:53:20 UTC, ' +
        'and the outcome is on record.',
    )
    expect(report.checks.every(({ state }) => state === 'passed')).toBe(true)
    const lines = report.sections.flatMap((section) => section.lines)
    expect(lines).toContainEqual({
      label: 'Response',
      value: 'Signed by the receiver, with a key of their own',
    })
    expect(lines).toContainEqual({ label: 'private.x', value: '(withheld)' })
    expect(lines).toContainEqual({ label: 'Facts', value: '17 opened, 1 withheld' })
  })

  test('does not call a refusal countersigned', async () => {
    const report = await reportOf(vector.refusal)
    expect(report.title).toBe('Verified')
    expect(report.sentence).toContain('was refused')
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

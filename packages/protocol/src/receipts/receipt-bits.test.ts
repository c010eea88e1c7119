import { describe, expect, test } from 'vitest'
import vector from '../../vectors/receipt.json' with { type: 'json' }
import { parseBase64 } from '../encoding/bytes.ts'
import { verifyReceipt } from './receipt.ts'
import { ReceiptError } from './receipt-error.ts'
import { parseTrust } from './trust.ts'

const trust = parseTrust(vector.trust)

function bytesOf(text: string): Uint8Array {
  return parseBase64(text) ?? new Uint8Array(0)
}

function accepted(bytes: Uint8Array): Promise<boolean> {
  return verifyReceipt(bytes, trust).then(
    () => true,
    (error: unknown) => {
      expect(error).toBeInstanceOf(ReceiptError)
      return false
    },
  )
}

/** The positions, in bits, of changes that verification did not notice. */
async function unnoticed(bytes: Uint8Array, bitsOf: (at: number) => readonly number[]) {
  const found: number[] = []
  for (let start = 0; start < bytes.length; start += 16) {
    const window = Array.from({ length: Math.min(16, bytes.length - start) }, (_, i) => start + i)
    const flips = window.flatMap((at) => bitsOf(at).map((bit) => ({ at, bit })))
    await Promise.all(
      flips.map(async ({ at, bit }) => {
        const changed = bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit))
        if (await accepted(changed)) found.push(at * 8 + bit)
      }),
    )
  }
  return found
}

// A changed bit that goes unnoticed is a statement that neither party made.
describe('a changed bit', () => {
  test('is noticed wherever it is in a receipt of a refusal', async () => {
    const bytes = bytesOf(vector.refusal)
    expect(await accepted(bytes)).toBe(true)
    expect(await unnoticed(bytes, () => [0, 1, 2, 3, 4, 5, 6, 7])).toEqual([])
  })

  // Every third byte, each time another bit: all bits of this one take half a minute.
  test('is noticed throughout a countersigned receipt', async () => {
    const bytes = bytesOf(vector.receipt)
    expect(await accepted(bytes)).toBe(true)
    expect(await unnoticed(bytes, (at) => (at % 3 === 0 ? [at % 8] : []))).toEqual([])
  })

  // Of its second entry: the first one has the same form.
  test('is noticed throughout the statement of a connector', async () => {
    const bytes = bytesOf(vector.stated)
    expect(await accepted(bytes)).toBe(true)
    const begin = Buffer.from(bytes).lastIndexOf('"stated"')
    expect(begin).toBeGreaterThan(0)
    expect(await unnoticed(bytes, (at) => (at >= begin ? [at % 8] : []))).toEqual([])
  })
})

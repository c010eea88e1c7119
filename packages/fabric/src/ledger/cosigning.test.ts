import { generateKeyPairSync, hash, sign } from 'node:crypto'
import {
  cosignatureText,
  formatCosignature,
  formatVkey,
  noteKeyIdWith,
  noteKeyType,
  parseNote,
  parseReceipt,
  parseTlogProof,
  utf8,
  verifyNote,
  verifyReceipt,
} from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import {
  createLedgerKeys,
  openLossyLedger,
  testOrigin,
  trustOf,
} from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { rawPublicKey } from './checkpoint.ts'
import { Cosigning, type CosignPolicy, type Witness } from './cosigning.ts'
import type { Ledger } from './ledger.ts'

const keys = createLedgerKeys()
const sha256 = (bytes: Uint8Array) => hash('sha256', bytes, 'buffer')
/** The answer of a witness that is down. */
const never = new Promise<never>(() => undefined)

/** A witness in this process: it signs every text, where a real one asks for a proof. */
function witnessOf(name: string, answers: (text: string) => Promise<string>): Witness {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const type = noteKeyType.cosignatureEd25519
  const key = { name, type, publicKey: rawPublicKey(publicKey) }
  const keyId = noteKeyIdWith(sha256, key)
  return {
    vkey: formatVkey({ ...key, keyId }),
    async cosign({ checkpoint }) {
      const text = await answers(parseNote(checkpoint).text)
      const signature = sign(null, utf8(cosignatureText(text, 1_800_000_000)), privateKey)
      return { name, keyId, signature: formatCosignature(1_800_000_000, signature) }
    },
  }
}

const honest = (name: string) => witnessOf(name, (text) => Promise.resolve(text))
const silent = (name: string) => witnessOf(name, () => never)
const failing = (name: string) => witnessOf(name, () => Promise.reject(new Error('down')))
const wrong = (name: string) => witnessOf(name, (text) => Promise.resolve(`other${text}`))

async function publish(policy: CosignPolicy): Promise<{ ledger: Ledger; published: string }> {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { cosigning: policy })
  return { ledger, published: await publishedOf(ledger) }
}

async function publishedOf(ledger: Ledger): Promise<string> {
  await ledger.check()
  return Buffer.from((await ledger.findResource('checkpoint')) ?? '').toString()
}

function namesOf(note: string): readonly string[] {
  return parseNote(note).signatures.map(({ name }) => name)
}

describe('a published checkpoint', () => {
  test('has the line of the log first, then the cosignatures in the order of the policy', async () => {
    const witnesses = [honest('w1.test'), honest('w2.test')]
    const { ledger, published } = await publish({ witnesses, quorum: 2, waitMs: 10_000 })
    expect(namesOf(published)).toEqual([ledger.origin, 'w1.test', 'w2.test'])
    for (const { vkey } of witnesses) expect(await verifyNote(published, vkey)).toBe(true)
    expect(await verifyNote(published, ledger.vkey)).toBe(true)
    await ledger.close()
  })

  test('waits for the quorum and not for those that do not answer', async () => {
    const witnesses = [silent('w1.test'), failing('w2.test'), honest('w3.test')]
    const { ledger, published } = await publish({ witnesses, quorum: 1, waitMs: 10_000 })
    expect(namesOf(published)).toEqual([ledger.origin, 'w3.test'])
    await ledger.close()
  })

  test('appears when the time is over, and when no further witness can answer', async () => {
    const late = await publish({ witnesses: [silent('w1.test')], quorum: 1, waitMs: 20 })
    expect(namesOf(late.published)).toEqual([late.ledger.origin])
    const witnesses = [failing('w1.test'), honest('w2.test')]
    const few = await publish({ witnesses, quorum: 2, waitMs: 10_000 })
    expect(namesOf(few.published)).toEqual([few.ledger.origin, 'w2.test'])
    await Promise.all([late.ledger.close(), few.ledger.close()])
  })

  test('has no line that its key did not sign, nor one under the name of the log', async () => {
    const [one, other] = [honest('w2.test'), honest('w3.test')]
    // Receipts with a second line of that name would not verify.
    const named = honest(testOrigin)
    const witnesses = [wrong('w1.test'), { ...one, vkey: other.vkey }, named]
    const { ledger, published } = await publish({ witnesses, quorum: 1, waitMs: 10_000 })
    expect(namesOf(published)).toEqual([ledger.origin])
    await ledger.close()
  })

  test('is read again at the next start', async () => {
    const disk = new LossyDisk()
    const policy = { witnesses: [honest('w1.test')], quorum: 1, waitMs: 10_000 }
    const first = await openLossyLedger(disk, keys, { cosigning: policy })
    await first.close()
    const again = await openLossyLedger(disk, keys)
    expect(namesOf(await publishedOf(again))).toContain(again.origin)
    await again.close()
  })

  test('is not waited for beyond the bounds of a policy', () => {
    const many = Array.from({ length: 16 }, (_, at) => honest(`w${at}.test`))
    const policies = [
      { witnesses: many, quorum: 1, waitMs: 1 },
      { witnesses: many.slice(0, 2), quorum: 3, waitMs: 1 },
      { witnesses: [...many.slice(0, 1), ...many.slice(0, 1)], quorum: 2, waitMs: 1 },
      { witnesses: many.slice(0, 2), quorum: 1, waitMs: 10_001 },
      { witnesses: many.slice(0, 2), quorum: 1, waitMs: Number.NaN },
    ]
    for (const policy of policies) expect(() => new Cosigning(policy)).toThrow(RangeError)
  })
})

describe('a receipt', () => {
  test('has the published checkpoint where that covers it, and the newest synced one otherwise', async () => {
    const witnesses = [honest('w1.test')]
    const ledger = await openLossyLedger(new LossyDisk(), keys, {
      cosigning: { witnesses, quorum: 1, waitMs: 10_000 },
      limits: { publishDelayMs: 3_600_000, headSyncMs: 3_600_000 },
    })
    const exchange = newExchange()
    const facts = { code: 'NOT_PERMITTED', transport: 'gateway', protocol: 'http' }
    const rest = { caller: 'spiffe://ledger.test/agent/a', receiver: 'b', operation: 'GET' }
    await ledger.append({ kind: 'refusal', exchange, at: Date.now(), facts: { ...facts, ...rest } })
    const before = (await ledger.findReceipt(exchange)) ?? new Uint8Array()
    expect(parseReceipt(before).level).toBe('synced')
    const published = await publishedOf(ledger)
    const after = (await ledger.findReceipt(exchange)) ?? new Uint8Array()
    expect(parseReceipt(after).level).toBe('published')
    expect(parseTlogProof(parseReceipt(after).entries[0]?.proof ?? '').checkpoint).toBe(published)
    expect(namesOf(published)).toEqual([ledger.origin, 'w1.test'])
    for (const receipt of [before, after]) {
      await expect(verifyReceipt(receipt, trustOf(ledger))).resolves.toMatchObject({ exchange })
    }
    await ledger.close()
  })
})

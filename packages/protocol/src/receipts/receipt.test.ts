import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import vector from '../../vectors/receipt.json' with { type: 'json' }
import { keyThumbprint } from '../control/enrollment.ts'
import { parseUtf8, toBase64, utf8 } from '../encoding/bytes.ts'
import { canonicalJson, type JsonValue } from '../encoding/canonical.ts'
import { type BatchStatement, draftBatch, noBatchBefore } from '../log/batch.ts'
import {
  commitmentInput,
  type EntryKind,
  encodeFact,
  encodeLeaf,
  type FactValue,
} from '../log/leaf.ts'
import {
  formatTlogProof,
  hashLeafWith,
  hashNodeWith,
  treePathWith,
  treeRootWith,
} from '../log/merkle.ts'
import { signMessageBatch } from '../log/message-batch.ts'
import {
  formatCheckpoint,
  formatNote,
  formatVkey,
  noteKeyIdWith,
  noteKeyType,
} from '../log/note.ts'
import { formatContentDigest } from '../signatures/content-digest.ts'
import { createSignatureInput, formatSignedRequestHeaders } from '../signatures/http-signature.ts'
import {
  batchAlgorithm as alg,
  createSignatureBase,
  type HeaderList,
} from '../signatures/http-signature-base.ts'
import {
  prepareRequestSignature,
  prepareResponseSignature,
} from '../signatures/http-signature-profile.ts'
import { verifyReceipt } from './receipt.ts'
import {
  createReceipt,
  type DisclosedFact,
  parseReceipt,
  RECEIPT_LEVELS,
  type Receipt,
} from './receipt-document.ts'
import { RECEIPT_FAULTS, ReceiptError, type ReceiptFault } from './receipt-error.ts'
import type { StatedIn } from './receipt-statement.ts'
import { describeLevel } from './receipt-words.ts'
import { formatTrust, type SlotTrust, slotCertificate, type Trust } from './trust.ts'

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

function signer(seed: number) {
  const der = Buffer.from(
    `302e020100300506032b657004220420${Buffer.alloc(32, seed).toString('hex')}`,
    'hex',
  )
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const sign32 = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey))
  return { publicKey: new Uint8Array(spki.subarray(-32)), sign: sign32 }
}

const origin = 'acme.test/ledger/a'
const exchange = 'exc_a_0197b0d2c00070008000000000000a0a'
const logKey = signer(1)
const caller = signer(3)
const callee = signer(4)
const fabric = signer(5)
const noteKey = { name: origin, type: noteKeyType.ed25519, publicKey: logKey.publicKey }
const noteId = noteKeyIdWith(sha256, noteKey)
const slotKey = signer(6)
const log = { slot: 'a', origin, vkey: formatVkey({ ...noteKey, keyId: noteId }) }
const trustDomain = 'acme.test'
const certify = (change: Partial<SlotTrust> = {}, domain = trustDomain): SlotTrust => {
  const slot = { ...log, ...change }
  return { ...slot, signature: slotKey.sign(slotCertificate(domain, slot)) }
}
const trust: Trust = {
  trustDomain,
  fabricKey: fabric.publicKey,
  slotKey: slotKey.publicKey,
  slots: [certify()],
}

type FactSet = Record<string, FactValue>
interface EntrySpec {
  readonly kind: EntryKind
  readonly facts: FactSet
  readonly exchange?: string
  readonly withheld?: readonly string[]
}

const request = { method: 'POST', path: '/tasks', authority: 'fabric.acme.test' }
const requestBody = utf8('{"invoice":4411}')
const responseBody = utf8('{"paid":true}')
const draft = { created: 1_760_000_000, keyId: 'k', nonce: 'n-1' }

const digestOf = (body: Uint8Array) => formatContentDigest(sha256(body))

/** Both messages of one exchange, signed by the parties that the specification requires. */
function signedFacts(asker: typeof caller, answerer: typeof caller, answerTo = requestBody) {
  const head = (body: Uint8Array): HeaderList => [
    ['content-type', 'application/json'],
    ['content-digest', digestOf(body)],
  ]
  const asked = { ...request, headers: [...head(requestBody), ['countersign-to', 'pay'] as const] }
  const prepared = prepareRequestSignature(asked, draft)
  const signature = asker.sign(utf8(prepared.base))
  const other = asker.sign(utf8(`other ${prepared.base}`))
  const covered = answerTo === requestBody ? signature : other
  const fields = formatSignedRequestHeaders('countersign', prepared.input, covered)
  const answer = { status: 200, headers: head(responseBody) }
  const back = prepareResponseSignature(
    { response: answer, request: { ...asked, headers: [...asked.headers, ...fields] } },
    { created: draft.created + 1, keyId: 'k2' },
  )
  const intent: FactSet = {
    'request.signature': signature,
    'request.signature-base': prepared.base,
    'request.key': asker.publicKey,
    'request.digest': sha256(requestBody),
    'attested.request': asker === fabric ? 'fabric' : 'caller',
  }
  const outcome: FactSet = {
    'response.signature': answerer.sign(utf8(back.base)),
    'response.signature-base': back.base,
    'response.key': answerer.publicKey,
    'response.digest': sha256(responseBody),
    'attested.response': answerer === fabric ? 'fabric' : 'callee',
  }
  return { intent, outcome }
}

const who: FactSet = {
  transport: 'gateway',
  protocol: 'a2a',
  caller: 'spiffe://acme.test/agent/invoice',
  receiver: 'pay',
  operation: 'SendMessage',
}

interface LogOptions {
  readonly leaf?: (leaf: Uint8Array) => Uint8Array
  readonly noteText?: (text: string) => string
  readonly signNote?: (text: string) => Uint8Array
  readonly stated?: (leaf: Uint8Array, n: number) => StatedIn | null
  readonly moreLines?: readonly { name: string; keyId: Uint8Array; signature: Uint8Array }[]
}

/** A log of three foreign leaves around the given entries, and the receipt for them. */
function receiptOf(specs: readonly EntrySpec[], options: LogOptions = {}): Receipt {
  const made = specs
    .map(entryOf)
    .map(({ facts, leaf }) => ({ facts, leaf: options.leaf?.(leaf) ?? leaf }))
  const foreign = (i: number) => hashLeafWith(sha256, Uint8Array.of(i))
  const own = made.map(({ leaf }) => hashLeafWith(sha256, leaf))
  const [a, b] = [own[0] ?? foreign(8), own[1] ?? foreign(9)]
  const left = hashNodeWith(sha256, foreign(0), a)
  const right = hashNodeWith(sha256, foreign(1), b)
  const root = hashNodeWith(sha256, left, right)
  const paths = [
    { index: 1, path: [foreign(0), right] },
    { index: 3, path: [foreign(1), left] },
  ]
  const plain = formatCheckpoint({ origin, size: 4, root })
  const text = options.noteText?.(plain) ?? plain
  const signature = options.signNote?.(text) ?? logKey.sign(utf8(text))
  const lines = [{ name: origin, keyId: noteId, signature }, ...(options.moreLines ?? [])]
  const checkpoint = formatNote(text, lines)
  return {
    exchange,
    origin,
    level: 'published',
    entries: made.map(({ leaf, facts }, i) => {
      const { index, path } = paths[i] ?? { index: 0, path: [] }
      const stated = options.stated?.(leaf, i) ?? null
      return { leaf, facts, proof: formatTlogProof({ index, path, checkpoint }), stated }
    }),
  }
}

function entryOf(spec: EntrySpec, n: number) {
  const facts: Record<string, DisclosedFact> = {}
  const commitments = new Map<string, Uint8Array>()
  for (const [name, value] of Object.entries(spec.facts)) {
    const salt = sha256(utf8(`salt ${n} ${name}`)).subarray(0, 16)
    commitments.set(name, sha256(commitmentInput(salt, encodeFact(name, value))))
    if (spec.withheld?.includes(name) !== true) facts[name] = { salt, value }
  }
  const leaf = encodeLeaf({
    exchange: spec.exchange ?? exchange,
    kind: spec.kind,
    at: 1_760_000_000_000 + n * 40,
    facts: commitments,
  })
  return { facts, leaf }
}

const halves = signedFacts(caller, callee)
const intent: EntrySpec = { kind: 'intent', facts: { ...who, ...halves.intent, 'private.x': 'x' } }
const outcome: EntrySpec = {
  kind: 'outcome',
  facts: { result: 'delivered', status: 200, ...halves.outcome },
}
const refused: FactSet = {
  ...{ code: 'NOT_PERMITTED', transport: 'gateway', protocol: 'a2a' },
  ...{ operation: 'SendMessage', receiver: 'pay' },
}
const refusal: EntrySpec = { kind: 'refusal', facts: refused }
const good = createReceipt(receiptOf([{ ...intent, withheld: ['private.x'] }, outcome]))

const producer = 'spiffe://acme.test/agent/pay'
const keyIds = new Map([
  [callee, await keyThumbprint('Ed25519', callee.publicKey)],
  [caller, await keyThumbprint('Ed25519', caller.publicKey)],
])

interface StatedOptions extends Partial<BatchStatement> {
  readonly signer?: typeof callee
  /** Of the key that the receipt shows. */
  readonly shown?: typeof callee
  readonly keyId?: typeof callee
}

/** A batch of five leaves in which the connector of `producer` states the entry, as the fourth. */
function statedBy({ signer: by = callee, shown = by, keyId = by, ...change }: StatedOptions = {}) {
  return (leaf: Uint8Array): StatedIn => {
    const others = [0, 1, 2, 4].map((i) => hashLeafWith(sha256, Uint8Array.of(i)))
    const hashes = others.toSpliced(3, 0, hashLeafWith(sha256, leaf))
    const root = treeRootWith(sha256, hashes)
    const named = { origin, producer, chain: new Uint8Array(16).fill(7), n: 0, prev: noBatchBefore }
    const at = 1_760_000_000_030
    const statement = { ...named, size: hashes.length, root, at, ...change }
    const draft = draftBatch(statement, keyIds.get(keyId) ?? '')
    const encoded = draft.encode(by.sign(draft.signed))
    const path = treePathWith(sha256, hashes, 3)
    return { statement: encoded, key: shown.publicKey, index: 3, path }
  }
}

const ofConnector = { transport: 'mesh', producer }
const meshed = [
  { kind: 'intent', facts: { ...who, ...halves.intent, ...ofConnector } },
  { kind: 'outcome', facts: { ...outcome.facts, ...ofConnector } },
] as const satisfies readonly EntrySpec[]
const goodOfConnector = createReceipt(receiptOf(meshed, { stated: statedBy() }))

async function faultOf(bytes: Uint8Array, pinned: Trust = trust): Promise<ReceiptFault | null> {
  try {
    await verifyReceipt(bytes, pinned)
    return null
  } catch (error) {
    if (error instanceof ReceiptError) return error.code
    throw error
  }
}

function faultOfSpecs(specs: readonly EntrySpec[], options?: LogOptions) {
  return faultOf(createReceipt(receiptOf(specs, options)))
}

/** The good receipt with one edit to its JSON, written canonically again. */
function edited(edit: (receipt: { [key: string]: JsonValue }) => void): Uint8Array {
  const document = JSON.parse(parseUtf8(good)) as { [key: string]: JsonValue }
  edit(document)
  return utf8(canonicalJson(document))
}

describe('a countersigned receipt', () => {
  test('names the caller, the receiver, the operation, the time and the signers', async () => {
    const verified = await verifyReceipt(good, trust)
    expect(verified).toMatchObject({
      exchange,
      origin,
      trustDomain: 'acme.test',
      kinds: ['intent', 'outcome'],
      at: 1_760_000_000_000,
      closedAt: 1_760_000_000_040,
      caller: 'spiffe://acme.test/agent/invoice',
      receiver: 'pay',
      operation: 'SendMessage',
      result: 'delivered',
      request: { by: 'caller', signature: { keyId: 'k', created: 1_760_000_000 } },
      response: { by: 'callee', signature: { keyId: 'k2', created: 1_760_000_001 } },
      checkpointSize: 4,
      level: 'published',
      factsOpened: 17,
      factsWithheld: 1,
    })
    expect(verified.entries[0]?.withheld).toEqual(['private.x'])
    expect(verified.request.signature?.covered.get('"countersign-to"')).toBe('pay')
  })

  test('is the published vector, byte for byte', async () => {
    expect(vector).toEqual({
      source:
        'Keys are Ed25519 with constant seeds; packages/protocol/src/receipts/receipt.test.ts makes it',
      trust: formatTrust(trust),
      receipt: toBase64(good),
      refusal: toBase64(createReceipt(receiptOf([refusal]))),
      stated: toBase64(goodOfConnector),
    })
  })

  test('fails truncated anywhere, and with anything appended', async () => {
    for (let length = 0; length < good.length; length += 41) {
      expect(await faultOf(good.slice(0, length))).not.toBeNull()
    }
    for (const tail of ['\n', ' ', '{}', '\0']) {
      expect(await faultOf(Uint8Array.of(...good, ...utf8(tail)))).not.toBeNull()
    }
  })

  test('verifies when the fabric attested both halves, with a signature or without', async () => {
    const unsigned = [
      { kind: 'intent', facts: { ...who, 'attested.request': 'fabric' } },
      { kind: 'outcome', facts: { result: 'delivered', 'attested.response': 'fabric' } },
    ] as const
    const verified = await verifyReceipt(createReceipt(receiptOf(unsigned)), trust)
    expect(verified.request).toEqual({ by: 'fabric', producer: null, signature: null })
    const byFabric = signedFacts(fabric, callee)
    const mixed = [
      { kind: 'intent', facts: { ...who, ...byFabric.intent } },
      { kind: 'outcome', facts: { result: 'delivered', ...byFabric.outcome } },
    ] as const
    const half = await verifyReceipt(createReceipt(receiptOf(mixed)), trust)
    expect([half.request.by, half.response.by]).toEqual(['fabric', 'callee'])
  })

  test('verifies for a lone refusal, and for what a crash left open', async () => {
    const refused = await verifyReceipt(createReceipt(receiptOf([refusal])), trust)
    expect(refused).toMatchObject({ kinds: ['refusal'], result: 'NOT_PERMITTED', caller: null })
    expect(refused.response).toEqual({ by: null, producer: null, signature: null })
    expect(refused.ending).toEqual({ result: 'refused', code: 'NOT_PERMITTED' })
    const open = { kind: 'indeterminate', facts: { result: 'unknown' } } as const
    const closed = await verifyReceipt(createReceipt(receiptOf([intent, open])), trust)
    expect(closed.response.by).toBeNull()
    expect(closed.ending).toEqual({ result: 'unknown', code: null })
  })
})

describe('a receipt of entries that a connector stated', () => {
  test('names the key of the statement, and its time', async () => {
    const { entries } = await verifyReceipt(goodOfConnector, trust)
    const stated = { keyId: keyIds.get(callee), at: 1_760_000_000_030 }
    expect(entries).toMatchObject([
      { producer, stated },
      { producer, stated },
    ])
    expect((await verifyReceipt(good, trust)).entries[0]?.stated).toBeNull()
  })

  const noHash = new Uint8Array(32)
  const spoiled: Readonly<Record<string, (leaf: Uint8Array, n: number) => StatedIn | null>> = {
    'that no one stated': () => null,
    'of which the ending is not stated': (leaf, n) => (n === 0 ? statedBy()(leaf) : null),
    'of another producer': statedBy({ producer: 'spiffe://acme.test/agent/other' }),
    'stated for another log': statedBy({ origin: 'acme.test/ledger/b' }),
    'stated by another key than the one that is shown': statedBy({ shown: caller }),
    'with the id of another key': statedBy({ keyId: caller }),
    'signed by another key': statedBy({ signer: caller, shown: callee, keyId: callee }),
    'with another root': statedBy({ root: noHash }),
    'in a batch of another size': statedBy({ size: 9 }),
    'at another place': (leaf) => ({ ...statedBy()(leaf), index: 2 }),
    'at no place': (leaf) => ({ ...statedBy()(leaf), index: -1 }),
    'with a path that ends early': (leaf) => {
      const stated = statedBy()(leaf)
      return { ...stated, path: stated.path.slice(1) }
    },
    'with a path that goes on': (leaf) => {
      const stated = statedBy()(leaf)
      return { ...stated, path: [...stated.path, noHash] }
    },
    'with a key of another length': (leaf) => ({ ...statedBy()(leaf), key: new Uint8Array(31) }),
    'with a statement of another form': (leaf) => ({
      ...statedBy()(leaf),
      statement: Uint8Array.of(0xd2, 0x84),
    }),
  }
  test.each(Object.entries(spoiled))('%s is refused', async (_, stated) => {
    expect(await faultOfSpecs(meshed, { stated })).toBe('STATEMENT_REJECTED')
  })

  test('is refused where the fabric shows its own entries as stated', async () => {
    expect(await faultOfSpecs([intent, outcome], { stated: statedBy() })).toBe('STATEMENT_REJECTED')
  })

  test('is refused in another form', async () => {
    const text = parseUtf8(goodOfConnector)
    for (const other of [
      text.replace('"index":3', '"index":3.5'),
      text.replace('"index":3', '"more":1,"index":3'),
      text.replace('"path":[', '"path":[["x"],'),
      text.replace(/"path":\[[^\]]*\]/, `"path":[${Array(9).fill('""').join(',')}]`),
      text.replace('"stated":{', '"stated":null,"x":{'),
    ]) {
      expect(other).not.toBe(text)
      expect(await faultOf(utf8(other)), other).toBe('RECEIPT_MALFORMED')
    }
  })
})

describe('a receipt is refused', () => {
  test('in any other spelling of the same document', async () => {
    const text = parseUtf8(good)
    expect(await faultOf(utf8(JSON.stringify(JSON.parse(text), null, 1)))).toBe(
      'RECEIPT_NOT_CANONICAL',
    )
    expect(await faultOf(utf8(text.replace('"v":2', '"v":2.0')))).toBe('RECEIPT_NOT_CANONICAL')
    expect(await faultOf(utf8(text.replace('acme.test/', '\\u0061cme.test/')))).toBe(
      'RECEIPT_NOT_CANONICAL',
    )
    expect(await faultOf(utf8(`\ufeff${text}`))).toBe('RECEIPT_MALFORMED')
    expect(await faultOf(Uint8Array.of(0xff))).toBe('RECEIPT_MALFORMED')
    expect(await faultOf(new Uint8Array(2 ** 20 + 1))).toBe('RECEIPT_MALFORMED')
  })

  test('with members missing, added or mistyped', async () => {
    const edits: readonly ((receipt: { [key: string]: JsonValue }) => void)[] = [
      (receipt) => Object.assign(receipt, { extra: 1 }),
      (receipt) => Object.assign(receipt, { v: '2' }),
      (receipt) => Object.assign(receipt, { exchange: 'exc_1' }),
      (receipt) => Object.assign(receipt, { exchange: exchange.replace('exc_a_', 'exc_') }),
      (receipt) => Object.assign(receipt, { entries: [] }),
      (receipt) => Object.assign(receipt, { entries: {} }),
      (receipt) => Object.assign(receipt, { origin: 'a b' }),
      (receipt) => delete receipt['origin'],
    ]
    for (const edit of edits) expect(await faultOf(edited(edit))).toBe('RECEIPT_MALFORMED')
    const text = parseUtf8(good)
    const spoiled = [
      text.replace('"value":200', '"value":200.5'),
      text.replace('"value":200', '"value":null'),
      text.replace('"value":200', '"value":{"bytes":"A"}'),
      text.replace('"facts":{"attested', '"facts":{"Attested'),
      text.replace('"leaf":"', '"leaf":"='),
      text.replace('"leaf":"', '"statement":"'),
    ]
    for (const bad of spoiled) expect(await faultOf(utf8(bad)), bad).toBe('RECEIPT_MALFORMED')
  })

  test('with a level that is none of the two words', async () => {
    for (const level of ['signed', 'cosigned', 'Published', '', null, 1, ['synced']]) {
      const receipt = edited((each) => Object.assign(each, { level }))
      expect(await faultOf(receipt)).toBe('RECEIPT_MALFORMED')
    }
    const synced = edited((receipt) => Object.assign(receipt, { level: 'synced' }))
    expect(await verifyReceipt(synced, trust)).toMatchObject({ level: 'synced' })
    // The holder has changed it, so that no words attribute it to the fabric.
    for (const level of RECEIPT_LEVELS) {
      expect(describeLevel(level)).toContain(`${level}, as the receipt states without proof`)
    }
  })

  test('of another version, by name and with what to do', async () => {
    for (const v of [1, 3]) {
      const error: unknown = await verifyReceipt(
        edited((receipt) => {
          delete receipt['level']
          Object.assign(receipt, { v })
        }),
        trust,
      ).catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: 'RECEIPT_VERSION_UNKNOWN' })
      expect(error).toHaveProperty(
        'detail',
        expect.stringMatching(
          new RegExp(
            `^it has version ${v}, .*: verify it with the version of Countersign that made it$`,
          ),
        ),
      )
    }
  })

  test('with keys other than the pinned ones', async () => {
    const of = (change: Partial<SlotTrust>) => ({ ...trust, slots: [certify(change)] })
    const stolen = { ...noteKey, publicKey: caller.publicKey }
    const vkey = formatVkey({ ...stolen, keyId: noteKeyIdWith(sha256, stolen) })
    expect(await faultOf(good, of({ origin: 'other.test' }))).toBe('ORIGIN_UNTRUSTED')
    // Only the name of the log names the fabric of its entries.
    const renamed = { ...trust, trustDomain: 'b.test', slots: [certify({}, 'b.test')] }
    expect(await faultOf(good, renamed)).toBe('ORIGIN_UNTRUSTED')
    expect(await faultOf(good, of({ vkey }))).toBe('CHECKPOINT_REJECTED')
    const fabricIsCaller = { ...trust, fabricKey: caller.publicKey }
    expect(await faultOf(good, fabricIsCaller)).toBe('ATTESTATION_CONTRADICTED')
  })

  test('of a log that the key of the fabric does not certify, or that is of another slot', async () => {
    const [first] = trust.slots
    if (first === undefined) throw new Error('the trust lists a log')
    const withLog = (slot: SlotTrust) => faultOf(good, { ...trust, slots: [slot] })
    const bare = {
      ...first,
      signature: first.signature.map((byte, at) => (at === 9 ? byte ^ 1 : byte)),
    }
    expect(await withLog(bare)).toBe('ORIGIN_UNTRUSTED')
    // A certificate is of one trust domain, one slot and one set of keys.
    expect(await withLog(certify({}, 'other.test'))).toBe('ORIGIN_UNTRUSTED')
    expect(await withLog({ ...first, slot: 'b' })).toBe('ORIGIN_UNTRUSTED')
    const stolen = { ...noteKey, publicKey: caller.publicKey }
    const vkey = formatVkey({ ...stolen, keyId: noteKeyIdWith(sha256, stolen) })
    expect(await withLog({ ...first, vkey })).toBe('ORIGIN_UNTRUSTED')
    expect(await withLog(certify({ slot: 'b' }))).toBe('ORIGIN_UNTRUSTED')
    const slotKey = caller.publicKey
    expect(await faultOf(good, { ...trust, slotKey })).toBe('ORIGIN_UNTRUSTED')
    // In the log of slot a, an exchange that belongs in the log of slot b.
    const elsewhere = exchange.replace('exc_a_', 'exc_b_') as typeof exchange
    const moved = receiptOf([{ ...refusal, exchange: elsewhere }])
    expect(await faultOf(createReceipt({ ...moved, exchange: elsewhere }))).toBe(
      'EXCHANGE_MISMATCHED',
    )
  })

  test('is verified by the key of its log, of several', async () => {
    const other = certify({ slot: 'b', origin: 'acme.test/ledger/b', vkey: 'unused' })
    expect(await faultOf(good, { ...trust, slots: [other, certify()] })).toBeNull()
    expect(await faultOf(good, { ...trust, slots: [other] })).toBe('ORIGIN_UNTRUSTED')
  })

  test('when its entries do not make one closed exchange', async () => {
    const other = 'exc_a_0197b0d2c00070008000000000000b0b'
    expect(await faultOfSpecs([intent])).toBe('KINDS_DISORDERED')
    expect(await faultOfSpecs([outcome])).toBe('KINDS_DISORDERED')
    expect(await faultOfSpecs([outcome, intent])).toBe('KINDS_DISORDERED')
    expect(await faultOfSpecs([intent, intent])).toBe('KINDS_DISORDERED')
    expect(await faultOfSpecs([intent, { ...outcome, exchange: other }])).toBe(
      'EXCHANGE_MISMATCHED',
    )
    for (const kind of ['genesis', 'lifecycle'] as const) {
      expect(await faultOfSpecs([{ ...refusal, kind }])).toBe('KINDS_DISORDERED')
      expect(await faultOfSpecs([intent, { ...outcome, kind }])).toBe('KINDS_DISORDERED')
    }
  })

  test('when a leaf is not in its one encoding, also where the log holds it', async () => {
    const spoil = (change: (leaf: Uint8Array) => Uint8Array) =>
      faultOfSpecs([refusal], { leaf: change })
    expect(await spoil((leaf) => leaf)).toBeNull()
    expect(await spoil((leaf) => Uint8Array.of(...leaf, 0))).toBe('LEAF_MALFORMED')
    // The version, and then the array with a longer head.
    expect(await spoil((leaf) => leaf.with(1, 1))).toBe('LEAF_MALFORMED')
    expect(await spoil((leaf) => Uint8Array.of(0x98, 5, ...leaf.subarray(1)))).toBe(
      'LEAF_MALFORMED',
    )
  })

  test('when the proof is of another log, or the checkpoint is not the log alone', async () => {
    const specs = [intent, outcome]
    const swapped = receiptOf(specs)
    const [first, second] = swapped.entries
    if (first === undefined || second === undefined) throw new Error('two entries')
    const crossed = [
      { ...first, proof: first.proof.replace('index 1', 'index 0') },
      { ...second, proof: second.proof },
    ]
    expect(await faultOf(createReceipt({ ...swapped, entries: crossed }))).toBe(
      'INCLUSION_REJECTED',
    )
    const elsewhere = receiptOf([intent, { ...outcome, facts: { result: 'refused' } }]).entries[1]
    const mixed = [first, { ...second, proof: elsewhere?.proof ?? '' }]
    expect(await faultOf(createReceipt({ ...swapped, entries: mixed }))).toBe(
      'CHECKPOINTS_DIFFERENT',
    )
    const noteText = (text: string) => text.replace(origin, 'other.test')
    expect(await faultOfSpecs(specs, { noteText })).toBe('ORIGIN_UNTRUSTED')
    const extension = (text: string) => `${text}extension\n`
    expect(await faultOfSpecs(specs, { noteText: extension })).toBe('PROOF_MALFORMED')
    const signNote = (text: string) => caller.sign(utf8(text))
    expect(await faultOfSpecs(specs, { signNote })).toBe('CHECKPOINT_REJECTED')
    const line = { keyId: Uint8Array.of(1, 2, 3, 4), signature: new Uint8Array(32) }
    const ownTwice = [{ ...line, name: origin }]
    expect(await faultOfSpecs(specs, { moreLines: ownTwice })).toBe('CHECKPOINT_REJECTED')
    const witnesses = Array.from({ length: 15 }, (_, at) => ({ ...line, name: `w${at}.test` }))
    expect(await faultOfSpecs(specs, { moreLines: witnesses })).toBe(null)
    const tooMany = [...witnesses, { ...line, name: 'w15.test' }]
    expect(await faultOfSpecs(specs, { moreLines: tooMany })).toBe('PROOF_MALFORMED')
  })

  test('when a disclosed fact is not the committed one', async () => {
    const receipt = receiptOf([intent, outcome])
    const [first, second] = receipt.entries
    if (first === undefined || second === undefined) throw new Error('two entries')
    const fact = second.facts['status'] ?? { salt: new Uint8Array(16), value: 0 }
    const withFacts = (facts: Record<string, DisclosedFact>) =>
      faultOf(
        createReceipt({
          ...receipt,
          entries: [first, { ...second, facts: { ...second.facts, ...facts } }],
        }),
      )
    expect(await withFacts({ status: { ...fact, value: 500 } })).toBe('FACT_REJECTED')
    expect(await withFacts({ status: { ...fact, value: '200' } })).toBe('FACT_REJECTED')
    expect(await withFacts({ status: { ...fact, salt: new Uint8Array(16) } })).toBe('FACT_REJECTED')
    expect(await withFacts({ stolen: fact })).toBe('FACT_UNKNOWN')
  })
})

describe('signatures of the parties', () => {
  async function faultWith(changes: { intent?: FactSet; outcome?: FactSet }, omit: string[] = []) {
    const spec = (base: EntrySpec, facts: FactSet = {}): EntrySpec => {
      const all = Object.entries({ ...base.facts, ...facts })
      return { ...base, facts: Object.fromEntries(all.filter(([name]) => !omit.includes(name))) }
    }
    return faultOfSpecs([spec(intent, changes.intent), spec(outcome, changes.outcome)])
  }

  test('must verify', async () => {
    const wrong = { 'request.signature': caller.sign(utf8('other')) }
    expect(await faultWith({ intent: wrong })).toBe('REQUEST_SIGNATURE_REJECTED')
    const mangled = {
      'request.signature-base': `${String(halves.intent['request.signature-base'])}\n`,
    }
    expect(await faultWith({ intent: mangled })).toBe('REQUEST_SIGNATURE_REJECTED')
    const key = { 'response.key': caller.publicKey }
    expect(await faultWith({ outcome: key })).toBe('RESPONSE_SIGNATURE_REJECTED')
  })

  test('verify as those of a batch, by the path of this message alone', async () => {
    const batchedFacts = (facts: FactSet, half: string, key: typeof caller): FactSet => {
      const base = String(facts[`${half}.signature-base`]).replace('alg="ed25519"', `alg="${alg}"`)
      const values = signMessageBatch(['before', base], { hash: sha256, sign: key.sign })
      return { [`${half}.signature`]: values[1] ?? '', [`${half}.signature-base`]: base }
    }
    const own = batchedFacts(halves.intent, 'request', caller)
    // The countersignature covers the signature of the request, so only a refusal stands alone.
    const specs = (facts: FactSet): EntrySpec[] => [
      { kind: 'refusal', facts: { ...refused, ...halves.intent, ...facts } },
    ]
    expect(await faultOfSpecs(specs(own))).toBe(null)
    const value = own['request.signature']
    if (!(value instanceof Uint8Array)) throw new Error('a signature is bytes')
    for (const at of [0, 63, 64, 65, 66, 97]) {
      const forged = value.map((byte, place) => (place === at ? byte ^ 1 : byte))
      const fault = await faultOfSpecs(specs({ ...own, 'request.signature': forged }))
      expect(fault, `byte ${at}`).toBe('REQUEST_SIGNATURE_REJECTED')
    }
    for (const cut of [value.slice(0, 64), value.slice(0, 66), value.slice(0, 97)]) {
      const fault = await faultOfSpecs(specs({ ...own, 'request.signature': cut }))
      expect(fault).toBe('REQUEST_SIGNATURE_REJECTED')
    }
    const ordinary = { 'request.signature': value }
    expect(await faultOfSpecs(specs(ordinary))).toBe('REQUEST_SIGNATURE_REJECTED')
  })

  test('must be whole', async () => {
    for (const name of ['request.signature', 'request.signature-base', 'request.key']) {
      expect(await faultWith({}, [name]), name).toBe('REQUEST_SIGNATURE_REJECTED')
    }
    for (const name of ['response.signature', 'response.signature-base', 'response.key']) {
      expect(await faultWith({}, [name]), name).toBe('RESPONSE_SIGNATURE_REJECTED')
    }
    const withheld = ['request.key', 'request.signature', 'request.signature-base']
    expect(await faultOfSpecs([{ ...intent, withheld }, outcome])).toBe('FACT_WITHHELD')
  })

  test('must be linked: the answer to another request is not a countersignature', async () => {
    const moved = signedFacts(caller, callee, responseBody)
    expect(await faultWith({ outcome: moved.outcome })).toBe('COUNTERSIGNATURE_UNLINKED')
    const request = Object.keys(halves.intent).filter((name) => name !== 'attested.request')
    const unsigned = await faultWith({ intent: { 'attested.request': 'fabric' } }, request)
    expect(unsigned).toBe('COUNTERSIGNATURE_UNLINKED')
  })

  test('may be linked through the request as it was forwarded, within this exchange', async () => {
    const outcomeOf = (named: string, signature?: Uint8Array): EntrySpec => {
      const headers: HeaderList = [['countersign-exchange', named]]
      const components = ['"@method"', '"@path"', '"countersign-exchange"']
      const input = createSignatureInput({ ...draft, components, tag: 'countersign-forward' })
      const base = createSignatureBase(input, { ...request, headers })
      const forwarded = signature ?? fabric.sign(utf8(base))
      const fields = formatSignedRequestHeaders('fabric', input, forwarded)
      const answer = { status: 200, headers: [['content-digest', digestOf(responseBody)] as const] }
      const back = prepareResponseSignature(
        { response: answer, request: { ...request, headers: [...headers, ...fields] } },
        draft,
      )
      const facts = {
        result: 'delivered',
        'forwarded.signature': forwarded,
        'forwarded.signature-base': base,
        'response.signature': callee.sign(utf8(back.base)),
        'response.signature-base': back.base,
        'response.key': callee.publicKey,
        'response.digest': sha256(responseBody),
        'attested.response': 'callee',
      }
      return { kind: 'outcome', facts }
    }
    const unsigned: EntrySpec = { kind: 'intent', facts: { ...who, 'attested.request': 'fabric' } }
    const other = 'exc_a_0197b0d2c00070008000000000000b0b'
    expect(await faultOfSpecs([unsigned, outcomeOf(exchange)])).toBeNull()
    expect(await faultOfSpecs([unsigned, outcomeOf(other)])).toBe('REQUEST_SIGNATURE_REJECTED')
    const forged = outcomeOf(exchange, callee.sign(utf8('x')))
    expect(await faultOfSpecs([unsigned, forged])).toBe('REQUEST_SIGNATURE_REJECTED')
    const withheld = ['forwarded.signature', 'forwarded.signature-base']
    const hidden = { ...outcomeOf(exchange), withheld }
    expect(await faultOfSpecs([unsigned, hidden])).toBe('FACT_WITHHELD')
    // A caller who signed is owed an answer to that signature, not to the fabric's.
    expect(await faultOfSpecs([intent, outcomeOf(exchange)])).toBe('COUNTERSIGNATURE_UNLINKED')
  })

  test('must be about the content on record', async () => {
    const digest = sha256(utf8('swapped'))
    expect(await faultWith({ intent: { 'request.digest': digest } })).toBe('DIGEST_MISMATCHED')
    expect(await faultWith({ outcome: { 'response.digest': digest } })).toBe('DIGEST_MISMATCHED')
    expect(await faultWith({}, ['response.digest'])).toBe('DIGEST_MISMATCHED')
  })

  test('must agree with the attestor on record', async () => {
    const claims = [
      { intent: { 'attested.request': 'fabric' } },
      { outcome: { 'attested.response': 'fabric' } },
    ]
    for (const claim of claims) expect(await faultWith(claim)).toBe('ATTESTATION_CONTRADICTED')
    expect(await faultWith({}, ['attested.request'])).toBe('FACT_MISSING')
    const posing = signedFacts(fabric, callee)
    const claimed = { ...posing.intent, 'attested.request': 'caller' }
    expect(await faultWith({ intent: claimed, outcome: posing.outcome })).toBe(
      'ATTESTATION_CONTRADICTED',
    )
    const unsigned: EntrySpec = { kind: 'intent', facts: { ...who, 'attested.request': 'caller' } }
    const bare: EntrySpec = { kind: 'outcome', facts: { result: 'refused', code: 'NOT_PERMITTED' } }
    expect(await faultOfSpecs([unsigned, bare])).toBe('ATTESTATION_CONTRADICTED')
  })

  test('must have the right types and stand in their own half', async () => {
    expect(await faultWith({ intent: { 'request.key': 'text' } })).toBe('FACT_MISTYPED')
    expect(await faultWith({ intent: { 'attested.request': 'callee' } })).toBe('VALUE_UNKNOWN')
    expect(await faultWith({ intent: { caller: 7 } })).toBe('FACT_MISTYPED')
    expect(await faultWith({ intent: { 'response.key': callee.publicKey } })).toBe('FACT_MISPLACED')
    expect(await faultWith({ outcome: { 'attested.request': 'caller' } })).toBe('FACT_MISPLACED')
  })
})

describe('the receipt document', () => {
  test('parses to what it was created from', () => {
    const receipt = receiptOf([intent, outcome])
    expect(parseReceipt(createReceipt(receipt))).toEqual(receipt)
  })

  test('has a sentence for every fault', () => {
    for (const [code, sentence] of Object.entries(RECEIPT_FAULTS)) {
      expect(code).toMatch(/^[A-Z]+(_[A-Z]+)+$/)
      expect(new ReceiptError(code as ReceiptFault).message).toBe(sentence)
    }
  })
})

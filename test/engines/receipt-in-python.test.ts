import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  canonicalJson,
  createReceipt,
  type ExchangeId,
  encodeLeaf,
  formatCheckpoint,
  formatNote,
  formatTlogProof,
  formatTrust,
  formatVkey,
  hashLeafWith,
  type JsonValue,
  noteKeyIdWith,
  noteKeyType,
  utf8,
} from '@countersign/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { signingKey } from '../harness/sdk-authority.ts'
import { sha256, signed } from '../harness/signed.ts'
import { otherFabric } from '../harness/trusts.ts'
import { openWorld, type World } from '../harness/world.ts'
import { root } from '../tidy/source.ts'

/** The verifier in Python, by receipts of a running fabric; it shares no code with that. */
const program = 'examples/verify_receipt.py'

interface Fact {
  salt: string
  value: JsonValue
}
interface Receipt {
  v: number
  entries: {
    leaf: string
    proof: string
    facts: Record<string, Fact>
    stated?: { statement: string; key: string; index: number; path: string[] }
  }[]
}

let world: World
let exchange = ''
/** As the fabric answers it: of a signed and countersigned exchange over the mesh. */
let receipt: Buffer = Buffer.alloc(0)
/** The same receipt by a checkpoint of before. */
let earlier: Buffer = Buffer.alloc(0)

async function receiptOf(id: string): Promise<Buffer> {
  const path = `/v1/receipts/${id}`
  return (await send(world.control, { method: 'GET', path, body: null })).body
}

beforeAll(async () => {
  world = await openWorld()
  exchange = exchangeOf(await send(world.mesh, await signed(world.mesh, world.caller)))
  earlier = await receiptOf(exchange)
  // The log goes on, so that the paths have several hashes.
  let last = ''
  for (let i = 0; i < 5; i++) last = exchangeOf(await send(world.gateway))
  // A receipt has the newest checkpoint that is synced; that of the last exchange needs a new one.
  await receiptOf(last)
  receipt = await receiptOf(exchange)
  expect(receipt.equals(earlier)).toBe(false)
})

afterAll(() => world.close())

function verify(bytes: Uint8Array, trust = formatTrust(world.caller.trust)) {
  const files = ['receipt.json', 'trust.json'].map((name) => join(world.dir, name))
  const [receiptFile = '', trustFile = ''] = files
  writeFileSync(receiptFile, bytes)
  writeFileSync(trustFile, trust)
  const { status, stdout, stderr } = spawnSync(
    '/usr/bin/python3',
    [join(root, program), receiptFile, trustFile],
    { encoding: 'utf8' },
  )
  return { status, stdout, stderr }
}

/** The receipt with `change` made to what it holds, in canonical form again. */
function changed(change: (receipt: Receipt) => void): Buffer {
  const document = JSON.parse(receipt.toString()) as Receipt
  change(document)
  return Buffer.from(canonicalJson(document as unknown as JsonValue))
}

/** Another text in canonical base64, with one bit of what it encodes flipped. */
function flipped(text: string, at = 3): string {
  const bytes = Buffer.from(text, 'base64')
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes.toString('base64')
}

function entry({ entries: [first] }: Receipt) {
  if (first === undefined) throw new Error('a receipt has an entry')
  return first
}

function changeLine(one: { proof: string }, at: number, change: (line: string) => string): void {
  const lines = one.proof.split('\n')
  const index = at < 0 ? lines.length + at : at
  lines[index] = change(lines[index] ?? '')
  one.proof = lines.join('\n')
}

/** Changes one line of the first proof. */
const line = (at: number, change: (line: string) => string) => (given: Receipt) =>
  changeLine(entry(given), at, change)

/** Changes one line of the checkpoint, counted from its end, in every proof. */
const noteLine = (at: number, change: (line: string) => string) => (given: Receipt) => {
  for (const one of given.entries) changeLine(one, at, change)
}

const fact = (given: Receipt, name: string): Fact => {
  const found = entry(given).facts[name]
  if (found === undefined) throw new Error(`the entry opens no ${name}`)
  return found
}

const inSignature = (at: number) =>
  noteLine(-2, (text) => text.replace(/\S+$/, (base64) => flipped(base64, at)))

/** The batch in which the first entry is stated. */
const stated = (given: Receipt) => {
  const found = entry(given).stated
  if (found === undefined) throw new Error('the entry is not stated in a batch')
  return found
}

const changes: Readonly<Record<string, (receipt: Receipt) => void>> = {
  'one bit of a leaf': (given) => {
    entry(given).leaf = flipped(entry(given).leaf, 60)
  },
  'one bit of a commitment': (given) => {
    const { leaf } = entry(given)
    entry(given).leaf = flipped(leaf, Buffer.from(leaf, 'base64').length - 1)
  },
  'one bit of a salt': (given) => {
    fact(given, 'caller').salt = flipped(fact(given, 'caller').salt)
  },
  'a text': (given) => {
    fact(given, 'receiver').value = 'other'
  },
  'one bit of a byte string': (given) => {
    const { bytes } = fact(given, 'request.digest').value as { bytes: string }
    fact(given, 'request.digest').value = { bytes: flipped(bytes) }
  },
  'one bit of a path': line(2, (hash) => flipped(hash)),
  'a hash of a path left out': (given) => {
    const { proof } = entry(given)
    entry(given).proof = proof.split('\n').toSpliced(2, 1).join('\n')
  },
  'the index': line(1, () => 'index 0'),
  'the size': noteLine(-5, (size) => String(Number(size) + 1)),
  'one bit of the root': noteLine(-4, (root) => flipped(root)),
  'the checkpoint of one proof': (given) => {
    given.entries.splice(0, 1, entry(JSON.parse(earlier.toString()) as Receipt))
  },
  'one bit of the signature': inSignature(30),
  'the id of the key': inSignature(0),
  'a fact that the entry does not commit to': (given) => {
    entry(given).facts['stolen'] = fact(given, 'caller')
  },
  'the entries in another order': (given) => {
    given.entries.reverse()
  },
  'one bit of a statement': (given) => {
    stated(given).statement = flipped(stated(given).statement, 200)
  },
  'one bit of the signature of a statement': (given) => {
    const { statement } = stated(given)
    stated(given).statement = flipped(statement, Buffer.from(statement, 'base64').length - 9)
  },
  'one bit of the key of a statement': (given) => {
    stated(given).key = flipped(stated(given).key)
  },
  'the place in a batch': (given) => {
    stated(given).index += 1
  },
  'a hash more in the path of a batch': (given) => {
    stated(given).path.push(Buffer.alloc(32).toString('base64'))
  },
  'the statement left out': (given) => {
    delete entry(given).stated
  },
  'the statement of the other entry': (given) => {
    const [, other] = given.entries
    if (other?.stated === undefined) throw new Error('the ending is not stated in a batch')
    entry(given).stated = other.stated
  },
  'the end left out': (given) => {
    given.entries.pop()
  },
  'an entry of another exchange': (given) => {
    Object.assign(given, { exchange: exchange.replace(/.$/, (last) => (last === '0' ? '1' : '0')) })
  },
  'the version': (given) => {
    given.v = 1
  },
  'another member': (given) => {
    Object.assign(given, { more: 1 })
  },
}

/** A log of one entry, whatever it is, by a key that the trust certifies. */
function forgedLog() {
  const key = signingKey()
  const { origin = '' } = world.caller.trust.slots[0] ?? {}
  const noteKey = { name: origin, type: noteKeyType.ed25519, publicKey: key.publicKey }
  const keyId = noteKeyIdWith(sha256, noteKey)
  const trust = otherFabric(world.caller.trust, { vkey: formatVkey({ ...noteKey, keyId }) })
  const receiptOfLeaf = (leaf: Uint8Array) => {
    const text = formatCheckpoint({ origin, size: 1, root: hashLeafWith(sha256, leaf) })
    const signature = key.sign(utf8(text))
    const checkpoint = formatNote(text, [{ name: origin, keyId, signature }])
    const proof = formatTlogProof({ index: 0, path: [], checkpoint })
    const entries = [{ leaf, proof, facts: {}, stated: null }]
    const level = 'published'
    return createReceipt({ exchange: exchange as ExchangeId, origin, level, entries })
  }
  return { trust, receiptOfLeaf }
}

describe('the verifier in Python', () => {
  test('accepts the receipt of a running fabric, and shows its facts', () => {
    const { status, stdout, stderr } = verify(receipt)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain(`verified '${exchange}'`)
    expect(stdout).toContain(`'caller': '${world.caller.spiffeId}'`)
    // That of the receiver, whose connector recorded the exchange.
    expect(stdout).toMatch(/ {2}stated by 'spiffe:.*' with the key [\w-]{43}\n/)
    expect(stdout).toMatch(/intent at \d+\n[^]*outcome at \d+\n/)
    expect(verify(changed(() => undefined)).status).toBe(0)
    expect(verify(earlier).status).toBe(0)
  })

  test('accepts a lone refusal', async () => {
    const heard = await send(world.gateway, { to: 'nobody' })
    const { status, stdout } = verify(await receiptOf(exchangeOf(heard)))
    expect(status).toBe(0)
    expect(stdout).toMatch(/refusal at \d+\n[^]*'code': '[A-Z_]+'/)
  })

  test.each(Object.entries(changes))('refuses a receipt with %s changed', (_, change) => {
    const { status, stdout, stderr } = verify(changed(change))
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^not verified: /)
  })

  test('refuses any changed byte of the file', () => {
    for (let at = 0; at < receipt.length; at += 397) {
      const bytes = Buffer.from(receipt)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
      expect(verify(bytes).status, `byte ${at}`).toBe(1)
    }
  })

  test('refuses the same document in another spelling', () => {
    const text = receipt.toString()
    for (const other of [`${text}\n`, JSON.stringify(JSON.parse(text), null, 1)]) {
      expect(verify(Buffer.from(other)).stderr).toContain('not in canonical form')
    }
  })

  test('refuses a leaf in another encoding, also where the log holds it', () => {
    const { trust, receiptOfLeaf } = forgedLog()
    const facts = new Map([['code', new Uint8Array(32)]])
    const leaf = encodeLeaf({ exchange, kind: 'refusal', at: 1, facts })
    expect(verify(receiptOfLeaf(leaf), formatTrust(trust)).status).toBe(0)
    const longer = Uint8Array.of(0x98, 5, ...leaf.subarray(1))
    for (const other of [longer, Uint8Array.of(...leaf, 0), leaf.with(1, 1)]) {
      expect(verify(receiptOfLeaf(other), formatTrust(trust)).status).toBe(1)
    }
  })

  test.each([
    ['before 1970', Uint8Array.of(0x20)],
    ['that no number holds exactly', Uint8Array.of(0x1b, 0, 0x20, 0, 0, 0, 0, 0, 0)],
    ['in text', Uint8Array.of(0x61, 0x41)],
  ])('refuses a leaf with a time %s, also where the log holds it', (_, time) => {
    const facts = new Map([['code', new Uint8Array(32)]])
    const leaf = encodeLeaf({ exchange, kind: 'refusal', at: 1, facts })
    const at = Buffer.from(leaf).indexOf('refusal') + 'refusal'.length
    const other = Uint8Array.of(...leaf.subarray(0, at), ...time, ...leaf.subarray(at + 1))
    const { trust, receiptOfLeaf } = forgedLog()
    expect(verify(receiptOfLeaf(leaf), formatTrust(trust)).status).toBe(0)
    expect(verify(receiptOfLeaf(other), formatTrust(trust)).status).toBe(1)
  })

  test('refuses a log that is certified under the name of another trust domain', () => {
    const trust = otherFabric({ ...world.caller.trust, trustDomain: 'other.test' })
    const { status, stderr } = verify(receipt, formatTrust(trust))
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('a log of another fabric') as string,
    })
  })

  test('refuses a log that the trust file does not certify', () => {
    const [slot] = world.caller.trust.slots
    if (slot === undefined) throw new Error('the trust lists a log')
    const trusts = [
      { ...world.caller.trust, trustDomain: 'other.test' },
      { ...world.caller.trust, slotKey: world.caller.trust.fabricKey },
      { ...world.caller.trust, slots: [{ ...slot, slot: 'b' }] },
      { ...world.caller.trust, slots: [{ ...slot, signature: slot.signature.with(1, 0) }] },
    ]
    for (const trust of trusts) expect(verify(receipt, formatTrust(trust)).status).toBe(1)
  })
})

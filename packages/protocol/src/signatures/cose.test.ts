import { generateKeyPairSync, sign, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { utf8 } from '../encoding/bytes.ts'
import { CborTag, type CborValue, decodeCbor, encodeCbor } from '../encoding/cbor.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  createStatement,
  parseStatement,
  prepareStatement,
  statementBytesMax,
  statementToBeSigned,
} from './cose.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const signEd25519 = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey))
const header = {
  keyId: utf8('key-1'),
  issuer: 'spiffe://example.test/fabric/one',
  subject: 'exchange',
  contentType: 'application/example+cbor',
}

function parts(statement: Uint8Array): CborValue[] {
  const item = decodeCbor(statement)
  if (!(item instanceof CborTag) || !Array.isArray(item.value)) throw new Error('no COSE_Sign1')
  return [...item.value]
}

describe('a signed statement', () => {
  test('parses to what it was made of, and its signature covers header and payload', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (payload) => {
        const statement = parseStatement(createStatement({ ...header, payload }, signEd25519))
        expect(statement).toMatchObject({ ...header, payload })
        const signed = statementToBeSigned(statement)
        expect(verify(null, signed, publicKey, statement.signature)).toBe(true)
        expect(decodeCbor(signed)).toEqual([
          'Signature1',
          statement.protectedHeader,
          new Uint8Array(0),
          payload,
        ])
      }),
      { numRuns: 60 },
    )
  })

  test('has exactly the bytes of the generic encoder', () => {
    for (const length of [0, 23, 24, 255, 256, 65_000]) {
      const statement = createStatement({ ...header, payload: new Uint8Array(length) }, signEd25519)
      expect(encodeCbor(decodeCbor(statement))).toEqual(statement)
      expect(parts(statement)).toHaveLength(4)
    }
  })

  test('is not made larger than an entry bundle can hold', () => {
    const write = prepareStatement(header)
    expect(() => write(new Uint8Array(statementBytesMax), signEd25519)).toThrow(RangeError)
    expect(() => write(new Uint8Array(0), () => new Uint8Array(63))).toThrow(TypeError)
  })

  test('is refused in every other shape', () => {
    const good = createStatement({ ...header, payload: utf8('{}') }, signEd25519)
    const [protectedHeader = null, , payload = null, signature = null] = parts(good)
    const map = decodeCbor(protectedHeader as Uint8Array) as ReadonlyMap<number, CborValue>
    const tagged = (value: CborValue, tag = 18) => encodeCbor(new CborTag(tag, value))
    const withHeader = (changes: readonly (readonly [number, CborValue])[]) =>
      tagged([encodeCbor(new Map([...map, ...changes])), new Map(), payload, signature])
    const bad: Readonly<Record<string, Uint8Array>> = {
      untagged: encodeCbor([protectedHeader, new Map(), payload, signature]),
      'another tag': tagged([protectedHeader, new Map(), payload, signature], 98),
      'an unprotected member': tagged([protectedHeader, new Map([[4, 1]]), payload, signature]),
      'a detached payload': tagged([protectedHeader, new Map(), null, signature]),
      'a short signature': tagged([protectedHeader, new Map(), payload, new Uint8Array(63)]),
      'a fifth element': tagged([protectedHeader, new Map(), payload, signature, null]),
      'an empty header': tagged([new Uint8Array(0), new Map(), payload, signature]),
      'another algorithm': withHeader([[1, -7]]),
      'an unknown header': withHeader([[2, [15]]]),
      'no issuer': withHeader([[15, new Map([[2, 'exchange']])]]),
      'an empty key id': withHeader([[4, new Uint8Array(0)]]),
      'a numeric content type': withHeader([[3, 60]]),
      'trailing bytes': Uint8Array.of(...good, 0),
    }
    for (const [why, bytes] of Object.entries(bad)) {
      expect(() => parseStatement(bytes), why).toThrow(MalformedError)
    }
  })
})

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedError } from '../encoding/malformed-error.ts'
import { formatContentDigest, parseContentDigest } from './content-digest.ts'

describe('a content digest', () => {
  test('has the form that RFC 9530, appendix B shows', () => {
    const digest = new Uint8Array(createHash('sha256').update('{"hello": "world"}\n').digest())
    const field = 'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:'
    expect(formatContentDigest(digest)).toBe(field)
    expect(parseContentDigest(field)).toEqual(digest)
  })

  test('parses to what was formatted', () => {
    const digest = fc.uint8Array({ minLength: 32, maxLength: 32 })
    fc.assert(
      fc.property(digest, (given) => {
        expect(parseContentDigest(formatContentDigest(given))).toEqual(given)
      }),
    )
  })

  test('is refused in every other form', () => {
    const good = formatContentDigest(new Uint8Array(32))
    const bad = [
      '',
      good.slice(0, -1),
      ` ${good}`,
      `${good}, ${good}`,
      `${good}, sha-512=:AAAA:`,
      good.replace('sha-256', 'SHA-256'),
      good.replace('sha-256', 'md5'),
      good.replace('A=:', '=:'),
      good.replace('AA=:', 'AB=:'),
      good.replaceAll('A', '-'),
      'sha-256="AAAA"',
    ]
    for (const field of bad) expect(() => parseContentDigest(field), field).toThrow(MalformedError)
    expect(() => formatContentDigest(new Uint8Array(31))).toThrow(TypeError)
  })
})

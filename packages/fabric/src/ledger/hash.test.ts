import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { leafHash, nodeHash, pairHashInto } from './hash.ts'

const bytes = fc.uint8Array({ maxLength: 300 })
const hash32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

test('leaves and nodes are hashed under different prefixes (RFC 6962, section 2.1)', () => {
  fc.assert(
    fc.property(bytes, hash32, hash32, (entry, left, right) => {
      const leaf = createHash('sha256').update(Buffer.of(0)).update(entry).digest()
      expect(leafHash(entry)).toEqual(leaf)
      const node = createHash('sha256').update(Buffer.of(1)).update(left).update(right).digest()
      expect(nodeHash(left, right)).toEqual(node)
      const target = Buffer.alloc(40)
      pairHashInto(target, 4, Buffer.concat([Buffer.alloc(3), left, right]), 3)
      expect(target.subarray(4, 36)).toEqual(node)
    }),
  )
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { generationOf, serialOfGeneration } from './enrolment-generation.ts'

test('a serial number states its generation, whatever else is in it', () => {
  const random = fc.uint8Array({ minLength: 15, maxLength: 15 })
  fc.assert(
    fc.property(fc.nat({ max: 0xffff_ffff }), random, (generation, bytes) => {
      const serial = serialOfGeneration(generation, () => bytes)
      expect(serial).toMatch(/^43[0-9a-f]{38}$/)
      expect(generationOf(serial)).toBe(generation)
    }),
  )
})

test('a serial number of another form is of generation 0', () => {
  for (const serial of ['', '43', '7f'.repeat(16), '43'.repeat(16), '44'.repeat(20), '01']) {
    expect(generationOf(serial)).toBe(0)
  }
})

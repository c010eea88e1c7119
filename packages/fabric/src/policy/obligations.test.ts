import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CedarPolicy, PolicyUnsupported } from './cedar-json.ts'
import { NO_OBLIGATIONS, parseObligations, uniteObligations } from './obligations.ts'
import type { Obligations } from './policy.ts'

const all = { op: 'All' }
const classes = ['card', 'credential', 'email']

function withAnnotations(
  annotations: Readonly<Record<string, string | null>>,
  effect: 'permit' | 'forbid' = 'permit',
): CedarPolicy {
  return { effect, principal: all, action: all, resource: all, conditions: [], annotations }
}

describe('demands by annotation', () => {
  test('each known annotation becomes its demand', () => {
    const annotations = {
      mask: 'email, card,card',
      block: 'credential',
      sign: 'request,response',
      assurance: 'durable',
      approval: ' why ',
      id: 'x',
      advice: 'y',
    }
    expect(parseObligations(withAnnotations(annotations), classes)).toEqual({
      mask: ['card', 'email'],
      block: ['credential'],
      signedRequest: true,
      signedResponse: true,
      assurance: 'durable',
      approval: 'why',
    })
  })

  test.each([
    ['an unknown annotation', { masks: 'card' }],
    ['an annotation named like a prototype member', { constructor: 'card' }],
    ['an unknown data class', { mask: 'card,ibam' }],
    ['an empty list', { mask: '' }],
    ['a value left out', { block: null }],
    ['an unknown side', { sign: 'both' }],
    ['another assurance', { assurance: 'witnessed' }],
    ['an approval without a reason', { approval: ' ' }],
    ['an endless reason', { approval: 'x'.repeat(201) }],
  ])('%s is refused', (_, annotations) => {
    expect(() => parseObligations(withAnnotations(annotations), classes)).toThrow(PolicyUnsupported)
  })

  test('a demand on a forbid is refused, a remark is not', () => {
    const parse = (annotations: Record<string, string>) =>
      parseObligations(withAnnotations(annotations, 'forbid'), classes)
    expect(() => parse({ mask: 'card' })).toThrow(PolicyUnsupported)
    expect(parse({ id: 'x', description: 'y' })).toEqual(NO_OBLIGATIONS)
  })
})

const words = fc.subarray(classes)
const obligations: fc.Arbitrary<Obligations> = fc.record({
  mask: words,
  block: words,
  signedRequest: fc.boolean(),
  signedResponse: fc.boolean(),
  assurance: fc.constant('durable' as const),
  approval: fc.constantFrom(null, 'a', 'b', 'c'),
})

describe('the strictest union', () => {
  test('does not depend on order or repetition, and nothing demanded is lost', () => {
    fc.assert(
      fc.property(obligations, obligations, obligations, (a, b, c) => {
        const both = uniteObligations(a, b)
        expect(both).toEqual(uniteObligations(b, a))
        expect(uniteObligations(both, b)).toEqual(both)
        expect(uniteObligations(both, c)).toEqual(uniteObligations(a, uniteObligations(b, c)))
        expect(both.mask).toEqual(expect.arrayContaining([...a.mask, ...b.mask]))
        expect(both.signedRequest).toBe(a.signedRequest || b.signedRequest)
        expect(uniteObligations(NO_OBLIGATIONS, a)).toEqual(a)
      }),
    )
  })
})

import { utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { holdsCard } from './card-content.ts'

const words = [
  'skills',
  'capabilities',
  'defaultInputModes',
  'defaultOutputModes',
  'preferredTransport',
  'supportsAuthenticatedExtendedCard',
]
const ofMany = ['version', 'protocolVersion', 'provider', 'iconUrl', 'securitySchemes']

const snake = (name: string) => name.replaceAll(/[A-Z]/g, (one) => `_${one.toLowerCase()}`)
const spellings: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => name.toUpperCase(),
  (name) => name.toLowerCase(),
  snake,
]
const spelling = fc.constantFrom(...spellings)

test('an address with two members of cards is a card, in any spelling of their names', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...words),
      fc.constantFrom(...words, ...ofMany),
      spelling,
      (a, b, spell) => {
        fc.pre(a !== b)
        const card = {
          [spell('url')]: 'http://x',
          pad: 'x'.repeat(100),
          [spell(a)]: [],
          [spell(b)]: {},
        }
        expect(holdsCard(utf8(JSON.stringify(card)))).toBe(true)
      },
    ),
  )
})

test('interfaces are a card by themselves', () => {
  for (const spell of spellings) {
    for (const name of ['supportedInterfaces', 'additionalInterfaces']) {
      expect(holdsCard(utf8(JSON.stringify({ [spell(name)]: [] })))).toBe(true)
    }
  }
})

test('in text, whatever stands around the names and before the colons', () => {
  const gap = fc.constantFrom('', ' '.repeat(50), '\n', '/* : */', '// x\n')
  // One quote without its other would make a single string of what stands between two names.
  const quote = fc.constantFrom('', '"', "'")
  const name = fc.tuple(gap, quote, gap)
  fc.assert(
    fc.property(fc.array(name, { minLength: 3, maxLength: 3 }), (around) => {
      const names = ['url', 'skills', 'defaultInputModes'].map((each, at) => {
        const [before, mark, behind] = around[at] ?? ['', '', '']
        return `${before}${mark}${each}${mark}${behind}`
      })
      const text = `{${names[0]}: NaN, ${names[1]}: [], ${names[2]}: []}`
      expect(holdsCard(utf8(text))).toBe(true)
    }),
  )
})

test.each([
  '{"name":"Ann","url":"https://ann.example","skills":["cooking"]}',
  '{"url":"x","version":"1","provider":"y"}',
  '{"skills":[],"capabilities":{}}',
  '{"a":{"b":{"c":{"url":"x","skills":[],"capabilities":{}}}}}',
  'curl: skills, capabilities: none; myurl: x',
  '',
  '[]',
  '"kills"',
])('%s is not one', (text) => {
  expect(holdsCard(utf8(text))).toBe(false)
})

import { utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasClueOfCard } from './card-clue.ts'
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

/** Characters that `bareWord` drops or folds: marks, other alphabets' letters, invisible ones. */
const marks = ['', '_', '-', ' ', '.', '\u200b', '\u00ad', '\u0301', '\n', '\t', '\u6f22', '"']
const lookalikes: Readonly<Record<string, readonly string[]>> = {
  s: ['s', 'S', '\u017f', '\uff53'],
  k: ['k', 'K', '\u212a', '\uff2b'],
  i: ['i', 'I', '\u0131', '\uff49'],
  l: ['l', 'L', '\u2113', '\ud835\udc25'],
}

test('the clue misses nothing that the comparison behind it finds', () => {
  const choices = fc.array(fc.nat(), { minLength: 120, maxLength: 120 })
  const escape = fc.constantFrom((text: string) => text, JSON.stringify)
  fc.assert(
    fc.property(
      fc.constantFrom(...words, 'supportedInterfaces'),
      choices,
      escape,
      (word, any, nest) => {
        const pick = (from: readonly string[], at: number) =>
          from[(any[at] ?? 0) % from.length] ?? ''
        const name = Array.from(word, (letter, i) => {
          const of = lookalikes[letter.toLowerCase()] ?? [letter, letter.toUpperCase()]
          return `${pick(of, 2 * i)}${pick(marks, 2 * i + 1)}`
        }).join('')
        const text = JSON.stringify({ url: 'http://x', [name]: [], version: '1' })
        expect(holdsCard(utf8(text))).toBe(true)
        expect(hasClueOfCard(utf8(nest(text)))).toBe(true)
      },
    ),
    { numRuns: 1000 },
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

test.each([
  `{'url':'https://evil.example/','s&%23107;ills':[],'&%2399;apabilities':{}}`,
  `{'url':'https://evil.example/','s%%36bills':[],'%%363apabilities':{}}`,
  `{'url':'https://evil.example/','s\uff056bills':[],'\uff0563apabilities':{}}`,
  `{'url':'https://evil.example/','s\uff3cx6bills':[],'\uff3cx63apabilities':{}}`,
  `{'url':'https://evil.example/','s\uff06#107;ills':[],'\uff06#99;apabilities':{}}`,
  `{'url':'https://evil.example/','s\\ff4b ills':[],'\\ff43 apabilities':{}}`,
])('a card whose words are in two layers of escapes is found: %s', (text) => {
  expect(holdsCard(utf8(text))).toBe(true)
})

import { expect, test } from 'vitest'
import { asciiOf } from './fold-character.ts'

test('every character that is ASCII after NFKC is folded', () => {
  const missed: string[] = []
  for (let codePoint = 0x80; codePoint < 0x20000; codePoint++) {
    if (codePoint >= 0xd800 && codePoint < 0xe000) continue
    const character = String.fromCodePoint(codePoint)
    const folded = character
      .normalize('NFKC')
      .toLowerCase()
      .replaceAll(/[^!-~]/g, '')
    if (/[a-z0-9/:=]/.test(folded) && asciiOf(codePoint) !== folded) missed.push(character)
  }
  expect(missed).toEqual([])
})

test.each([
  ['ﬃ', 'ffi'],
  ['ſ', 's'],
  ['\u212a', 'k'],
  ['ｍ', 'm'],
  ['𝐦', 'm'],
  ['ı', 'i'],
  ['İ', 'i'],
  ['é', undefined],
  ['的', undefined],
])('%s is %s', (character, ascii) => {
  expect(asciiOf(character.codePointAt(0) ?? 0)).toBe(ascii)
})

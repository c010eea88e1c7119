import { isControlByte } from '@countersign/protocol'
import { Decoded, originOf } from './decode.ts'
import { isInvisible, isMark } from './invisible.ts'
import { numberForms } from './number-forms.ts'
import type { View } from './view.ts'

/**
 * Letters and signs of other scripts that look like Latin ones (a selection of Unicode's
 * confusables, UTS 39), as code point and ASCII form; written in hexadecimal because a reviewer
 * could not distinguish the glyphs.
 */
const LOOK_ALIKES =
  '0430a 0435e 043eo 0440p 0441c 0445x 0443y 0456i 0458j 0455s 04bbh 0501d 051bq 051dw 0410A 0412B 0415E 041aK 041cM 041dH 041eO 0420P 0421C 0422T 0425X 0406I 0408J 0405S 0391A 0392B 0395E 0396Z 0397H 0399I 039aK 039cM 039dN 039fO 03a1P 03a4T 03a5Y 03a7X 03bfo 03bdv 2024. 3002. fe52. fe6b@ 2044/ 2215/'

/**
 * Blocks with styled Latin letters: raised and lowered, letter-like, circled, mathematical,
 * squared.
 */
const STYLED: readonly (readonly [first: number, last: number])[] = [
  [0x1d2c, 0x1d6a],
  [0x2071, 0x209c],
  [0x2100, 0x214f],
  [0x249c, 0x24e9],
  [0x1d400, 0x1d6a5],
  [0x1f110, 0x1f149],
]

const FOLDED: ReadonlyMap<number, number> = buildFolded()

function buildFolded(): Map<number, number> {
  const folded = new Map<number, number>()
  for (const pair of LOOK_ALIKES.split(' ')) {
    folded.set(Number.parseInt(pair.slice(0, 4), 16), pair.charCodeAt(4))
  }
  for (let code = 0xff01; code <= 0xff5e; code++) folded.set(code, code - 0xfee0)
  for (const [first, last] of STYLED) {
    for (let code = first; code <= last; code++) {
      const plain = String.fromCodePoint(code).normalize('NFKC').replaceAll(/[()]/g, '')
      if (/^[A-Za-z]$/.test(plain)) folded.set(code, plain.charCodeAt(0))
    }
  }
  for (const colon of [0x2236, 0xa789, 0xfe55, 0x2254]) folded.set(colon, 0x3a)
  for (const equals of [0xa78a, 0xfe66, 0x2e40]) folded.set(equals, 0x3d)
  for (const space of [0xa0, 0x1680, 0x202f, 0x205f, 0x3000]) folded.set(space, 0x20)
  for (let space = 0x2000; space <= 0x200a; space++) folded.set(space, 0x20)
  for (const dash of [0x2212, 0xfe58, 0xfe63]) folded.set(dash, 0x2d)
  for (let dash = 0x2010; dash <= 0x2015; dash++) folded.set(dash, 0x2d)
  return folded
}

/**
 * The view with invisible characters and combining marks dropped and look-alikes written as the
 * ASCII they look like, or null when nothing changes. `bytes` is valid UTF-8, because the body was
 * checked to be.
 */
export function fold(view: View): View | null {
  const { bytes, from, to } = view
  const folded = new Decoded(to - from)
  const digits = numberForms()
  let changed = false
  for (let i = from; i < to; ) {
    const lead = bytes[i] as number
    if (lead < 0x80) {
      // `\u0000` between two digits: some receivers drop it, others show nothing.
      if (isControlByte(lead)) changed = true
      else folded.add(lead, originOf(view, i))
      i++
      continue
    }
    const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
    const code = readCodePoint(bytes, i, length)
    if (isInvisible(code)) changed = true
    else if (isMark(code)) {
      // On a letter of another script, which is of no interest without it either.
      if (folded.length > 0 && (folded.bytes[folded.length - 1] as number) < 0x80) changed = true
    } else {
      const ascii = FOLDED.get(code)
      const form = ascii === undefined ? digits.get(code) : undefined
      if (ascii !== undefined || form !== undefined) changed = true
      if (form === undefined) folded.addCodePoint(ascii ?? code, originOf(view, i))
      // No sign holds more than two digits, and none is shorter than two bytes.
      else for (const digit of form) folded.add(digit.charCodeAt(0), originOf(view, i))
    }
    i += length
  }
  return changed ? folded.view(originOf(view, to), view.whole) : null
}

function readCodePoint(bytes: Uint8Array, at: number, length: number): number {
  let code = (bytes[at] as number) & (0xff >> (length + 1))
  for (let i = at + 1; i < at + length; i++) code = (code << 6) | ((bytes[i] ?? 0x80) & 63)
  return code
}

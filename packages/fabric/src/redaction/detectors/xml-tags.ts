import { STEPS } from '../inspection-work.ts'
import { latin1 } from '../text/ascii.ts'

/** A start tag with its content, by places in the text. */
export interface Element {
  readonly name: string
  /** The `<` of the start tag. */
  readonly start: number
  /** Behind the `>` of the start tag. */
  readonly from: number
  /** The `<` of the end tag that belongs to it; the same as `from` where a tag stands alone. */
  readonly to: number
  /** The root of all has no tag, and no parent. */
  readonly parent: Element | null
  readonly children: readonly Element[]
  /** Its place among the children of its parent. */
  readonly index: number
}

const nameBytesMax = 128

interface Open extends Element {
  to: number
  parent: Open | null
  index: number
  readonly children: Open[]
}

/**
 * The elements of a text that may be XML or HTML, by where their start tags begin. One pass:
 * comments and CDATA are content, tags that nothing closes are left out, whatever stands in them.
 */
export function readElements(
  bytes: Uint8Array,
  { from, to }: { from: number; to: number },
  spend: (steps: number) => void,
): Map<number, Element> {
  const elements = new Map<number, Element>()
  const shape = { from, to, parent: null, index: 0 }
  const root: Open = { ...shape, name: '', start: -1, children: [] }
  const open: Open[] = []
  const counts = new Map<string, number>()
  const forget = ({ name }: Open): void => {
    counts.set(name, (counts.get(name) ?? 1) - 1)
  }
  for (let at = bytes.indexOf(0x3c, from); at >= 0 && at < to; at = bytes.indexOf(0x3c, at)) {
    const section = sectionEnd(bytes, at, to)
    if (section > 0) {
      at = section
      continue
    }
    const isEnd = bytes[at + 1] === 0x2f
    const name = nameAt(bytes, isEnd ? at + 2 : at + 1, to)
    if (name === '') {
      at++
      continue
    }
    const end = tagEnd(bytes, at + 1 + name.length, to)
    if (end < 0) {
      spend(STEPS.byte * (Math.min(tagBytesMax, to - at) / 2))
      at++
      continue
    }
    if (!isEnd) {
      const element: Open = { ...shape, name, start: at, from: end, to: end, children: [] }
      if (bytes[end - 2] === 0x2f) adopt(open.at(-1) ?? root, element)
      else {
        open.push(element)
        counts.set(name, (counts.get(name) ?? 0) + 1)
      }
    } else if ((counts.get(name) ?? 0) > 0) closeElement(name, at, { root, open, elements, forget })
    at = end
  }
  return elements
}

function adopt(parent: Open, child: Open): void {
  child.parent = parent
  child.index = parent.children.length
  parent.children.push(child)
}

/**
 * Closes the innermost element of the name. Elements still open inside it have no end: their
 * children become children of the enclosing element.
 */
function closeElement(
  name: string,
  at: number,
  {
    root,
    open,
    elements,
    forget,
  }: {
    root: Open
    open: Open[]
    elements: Map<number, Element>
    forget(element: Open): void
  },
): void {
  const lost: Open[] = []
  for (let top = open.pop(); top !== undefined; top = open.pop()) {
    forget(top)
    if (top.name !== name) {
      lost.push(top)
      continue
    }
    top.to = at
    for (const { children } of lost.reverse()) for (const child of children) adopt(top, child)
    adopt(open.at(-1) ?? root, top)
    elements.set(top.start, top)
    return
  }
}

/** The end of the comment or CDATA section that begins at `at`, or -1. */
function sectionEnd(bytes: Uint8Array, at: number, to: number): number {
  if (bytes[at + 1] !== 0x21) return -1
  const isCdata = latin1(bytes, at, Math.min(to, at + 9)) === '<![CDATA['
  const isComment = !isCdata && latin1(bytes, at, Math.min(to, at + 4)) === '<!--'
  if (!isCdata && !isComment) return -1
  const [first, second] = isCdata ? [0x5d, 0x5d] : [0x2d, 0x2d]
  for (let i = at + 4; i + 2 < to; i++) {
    if (bytes[i] === first && bytes[i + 1] === second && bytes[i + 2] === 0x3e) return i + 3
  }
  return to
}

function nameAt(bytes: Uint8Array, at: number, to: number): string {
  const limit = Math.min(to, at + nameBytesMax)
  let end = at
  while (end < limit && isNameByte(bytes[end] as number)) end++
  return latin1(bytes, at, end).toLowerCase()
}

function isNameByte(byte: number): boolean {
  if (byte >= 0x80 || byte === 0x2d || byte === 0x2e || byte === 0x3a || byte === 0x5f) return true
  const lower = byte | 0x20
  return (byte >= 0x30 && byte <= 0x39) || (lower >= 0x61 && lower <= 0x7a)
}

/** Longer tags are text with a sign in it. */
const tagBytesMax = 1_024

/** Behind the `>` that ends a tag, those in quoted attributes aside; -1 where it is none. */
export function tagEnd(bytes: Uint8Array, at: number, to: number): number {
  const limit = Math.min(to, at + tagBytesMax)
  let quote = 0
  for (let i = at; i < limit; i++) {
    const byte = bytes[i] as number
    if (quote !== 0) {
      if (byte === quote) quote = 0
    } else if (byte === 0x3e) return i + 1
    else if (byte === 0x3c) return -1
    else if ((byte === 0x22 || byte === 0x27) && bytes[i - 1] === 0x3d) quote = byte
  }
  return -1
}

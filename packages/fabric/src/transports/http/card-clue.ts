/** Parts of the words of cards, by a letter of them that is rare: what stands around it. */
const around: ReadonlyMap<number, readonly (readonly [behind: number, text: string])[]> = new Map([
  [code('k'), [[1, 'ills']]],
  [code('b'), [[-4, 'capa']]],
  [
    code('x'),
    [
      [1, 'tendedc'],
      [1, 'tended_c'],
    ],
  ],
  [
    code('f'),
    [
      [1, 'aces'],
      [1, 'aultin'],
      [1, 'aultout'],
      [1, 'ault_'],
      [1, 'erredtr'],
      [1, 'erred_'],
    ],
  ],
])
/** What JSON has behind a backslash, except `u`. Anything else is the escape of a lax reader. */
const usualEscapes: ReadonlySet<number> = new Set(Array.from('"\\/bfnrt', code))

/** Bytes that begin something: a backslash, and the letters above in both cases. Few are either. */
const telling = new Uint8Array(256)
for (const letter of around.keys()) telling[letter] = telling[letter & ~0x20] = 1
telling[0x5c] = 1

/**
 * Whether an answer is worth a closer look, which few are: it holds a part of a word of cards, in any
 * case, or an escape that could hide one. One pass over the bytes.
 */
export function hasClueOfCard(body: Uint8Array): boolean {
  for (let i = 0; i < body.length; i++) {
    const byte = body[i] as number
    if (telling[byte] === 0) continue
    if (byte === 0x5c) {
      // The next one is escaped, and begins no escape itself.
      if (!usualEscapes.has(body[++i] ?? 0)) return true
      continue
    }
    for (const [behind, text] of around.get(byte | 0x20) ?? []) {
      if (holdsAt(body, i + behind, text)) return true
    }
  }
  return false
}

function holdsAt(body: Uint8Array, from: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const byte = body[from + i] ?? 0
    const folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
    if (folded !== text.charCodeAt(i)) return false
  }
  return true
}

function code(letter: string): number {
  return letter.charCodeAt(0)
}

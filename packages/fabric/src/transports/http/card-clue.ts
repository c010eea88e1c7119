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

/**
 * Whether an answer is worth a closer look, which few are: it holds a part of a word of cards, in any
 * case, or an escape that could hide one. One pass over the bytes.
 */
export function hasClueOfCard(body: Uint8Array): boolean {
  for (let i = 0; i < body.length; i++) {
    const byte = body[i] as number
    if (byte === 0x5c) {
      // The next one is escaped, and begins no escape itself.
      if (!usualEscapes.has(body[++i] ?? 0)) return true
      continue
    }
    const letter = byte | 0x20
    if (letter !== 0x62 && letter !== 0x66 && letter !== 0x6b && letter !== 0x78) continue
    const parts = around.get(letter) ?? []
    if (parts.some(([behind, text]) => holdsAt(body, i + behind, text))) return true
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

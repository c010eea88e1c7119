const colon = 0x3a
const quote = 0x22
const percent = 0x25
/** Letters and digits as `WordMatcher` counts them. */
const [i, q, r, s, w, x] = [8, 16, 17, 18, 22, 23] as const
const firstDigit = 26

type State = 'none' | 'q' | 'qq' | 'percent' | 's' | 'colon' | 'length' | 'second colon'

/**
 * Follows letters and digits that open a literal instead of belonging to a word: `q(…)`, `qq{…}`
 * and `qw[…]` of Perl, `%q(…)` and `%w[…]` of Ruby, `s:6:"…"` of PHP's serialized strings.
 */
export class LiteralOpener {
  #state: State = 'none'

  /** Reports whether a literal may be opened from this letter or digit on, which follows `last`. */
  letter(kind: number, isFirst: boolean, last: number): boolean {
    const state = this.#state
    if (!isFirst) {
      if (state === 'q')
        this.#state = kind === q || kind === r || kind === w || kind === x ? 'qq' : 'none'
      else if (state !== 'length' || kind < firstDigit) this.#state = 'none'
      return false
    }
    if (state === 'colon' && kind >= firstDigit) this.#state = 'length'
    else if (last === percent && (kind === q || kind === w || kind === s || kind === i)) {
      this.#state = 'percent'
    } else this.#state = kind === q ? 'q' : kind === s ? 's' : 'none'
    return this.#state !== 'none' && this.#state !== 'length'
  }

  /**
   * Reports whether the characters since then have opened a literal, with any other character as
   * the last.
   */
  other(unit: number): boolean {
    const state = this.#state
    if (state === 'none') return false
    this.#state = 'none'
    if (state === 's' && unit === colon) this.#state = 'colon'
    else if (state === 'length' && unit === colon) this.#state = 'second colon'
    if (state === 'second colon') return unit === quote
    return state === 'q' || state === 'qq' || state === 'percent'
  }
}

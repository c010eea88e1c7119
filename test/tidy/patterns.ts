/**
 * Patterns that an engine which tries one way after the other reads in exponential time: a part
 * that repeats can match the same text in two ways. Decided by the automaton of the pattern, so
 * that `(?:a|b+)*` is found and `(?:a|-b+)*` is not. Conditions such as `^` and `(?!…)` count as
 * always met.
 */
export function isExponential({ source, flags }: RegExp): boolean {
  return new Reader(source, flags).read().some(({ places }) => hasTwoWays(places))
}

/**
 * One sign of a pattern, the signs that it matches by their bits, and how often each other comes
 * right behind it.
 */
interface Place {
  readonly signs: bigint
  readonly next: Map<Place, number>
}

interface Part {
  readonly first: readonly Place[]
  readonly last: readonly Place[]
  readonly isEmpty: boolean
}

interface Automaton {
  readonly places: readonly Place[]
}

/** Bytes, line ends beyond them, letters and digits of other alphabets, signs. */
const SIGNS = [
  ...Array.from({ length: 256 }, (_, code) => String.fromCodePoint(code)),
  ...['\u2028', '\u2029', '\u200b', 'ł', 'Ω', '٤', '４', '…', '•', '漢', '\u0301'],
]
const nothing: Part = { first: [], last: [], isEmpty: true }

class Reader {
  readonly #source: string
  readonly #flags: string
  readonly #automata: Automaton[] = []
  readonly #known = new Map<string, bigint>()
  #places: Place[] = []
  #at = 0

  constructor(source: string, flags: string) {
    this.#source = source
    this.#flags = flags.replaceAll(/[^isuv]/g, '')
  }

  read(): readonly Automaton[] {
    this.#choice()
    this.#automata.push({ places: this.#places })
    return this.#automata
  }

  #choice(): Part {
    let all = this.#sequence()
    while (this.#source[this.#at] === '|') {
      this.#at++
      const other = this.#sequence()
      all = {
        first: [...all.first, ...other.first],
        last: [...all.last, ...other.last],
        isEmpty: all.isEmpty || other.isEmpty,
      }
    }
    return all
  }

  #sequence(): Part {
    let whole = nothing
    while (this.#at < this.#source.length && !'|)'.includes(this.#source.charAt(this.#at))) {
      whole = join(whole, this.#repeated())
    }
    return whole
  }

  /** Twice stands for every bounded number beyond one. */
  #repeated(): Part {
    const from = this.#at
    let part = this.#one()
    const found = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/.exec(this.#source.slice(this.#at))
    if (found === null) return part
    const [whole, least = '', comma = '', most = ''] = found
    const behind = this.#at + whole.length
    const sign = whole.charAt(0)
    const min = sign === '{' ? Number(least) : sign === '+' ? 1 : 0
    const isEndless = sign === '*' || sign === '+' || (comma !== '' && most === '')
    const max = sign === '{' && !isEndless ? Number(most === '' ? least : most) : 1
    if (!isEndless && max > 1) {
      this.#at = from
      const second = this.#one()
      part = join(part, min > 1 && min === max ? second : { ...second, isEmpty: true })
    }
    this.#at = behind
    if (isEndless) link(part.last, part.first)
    return min === 0 ? { ...part, isEmpty: true } : part
  }

  #one(): Part {
    const rest = this.#source.slice(this.#at)
    const condition = /^(?:\^|\$|\\[bB])/.exec(rest)
    if (condition !== null) {
      this.#at += condition[0].length
      return nothing
    }
    if (rest.startsWith('(')) return this.#group(rest)
    const sign =
      /^(?:\[(?:[^\]\\]|\\.)*\]|\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u.{4}|\\x..|\\.|.)/su.exec(
        rest,
      )?.[0] ?? ''
    this.#at += sign.length
    const place = { signs: this.#matched(sign), next: new Map<Place, number>() }
    this.#places.push(place)
    return { first: [place], last: [place], isEmpty: false }
  }

  #group(rest: string): Part {
    const opening = /^\((?:\?(?:[:=!]|<[=!]|<\w+>))?/.exec(rest)?.[0] ?? '('
    const isCondition = /[=!]$/.test(opening)
    const outer = this.#places
    if (isCondition) this.#places = []
    this.#at += opening.length
    const inner = this.#choice()
    this.#at++
    if (!isCondition) return inner
    this.#automata.push({ places: this.#places })
    this.#places = outer
    return nothing
  }

  #matched(sign: string): bigint {
    const known = this.#known.get(sign)
    if (known !== undefined) return known
    const pattern = new RegExp(`^${sign}$`, this.#flags)
    let signs = 0n
    for (const [i, each] of SIGNS.entries()) if (pattern.test(each)) signs |= 1n << BigInt(i)
    this.#known.set(sign, signs)
    return signs
  }
}

function link(from: readonly Place[], to: readonly Place[]): void {
  for (const { next } of from) for (const each of to) next.set(each, (next.get(each) ?? 0) + 1)
}

function join(one: Part, two: Part): Part {
  link(one.last, two.first)
  return {
    first: one.isEmpty ? [...one.first, ...two.first] : one.first,
    last: two.isEmpty ? [...one.last, ...two.last] : two.last,
    isEmpty: one.isEmpty && two.isEmpty,
  }
}

/** Returns whether a place leads back to itself on two paths that match the same text. */
function hasTwoWays(places: readonly Place[]): boolean {
  const numbers = new Map(places.map((place, i) => [place, i]))
  const reached = places.map((place) => reach(place))
  return places.some((start, i) => {
    if (!reached[i]?.has(start)) return false
    const own = places.filter(
      (p, j) => reached[i]?.has(p) === true && reached[j]?.has(start) === true,
    )
    return isTwofold(start, new Set(own), numbers)
  })
}

function reach(start: Place): ReadonlySet<Place> {
  const seen = new Set<Place>()
  const open = [start]
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    for (const next of place.next.keys()) {
      if (seen.has(next)) continue
      seen.add(next)
      open.push(next)
    }
  }
  return seen
}

/**
 * Walks two ways at once within one circle; a pair of different places that meets again is a fault.
 */
function isTwofold(
  start: Place,
  circle: ReadonlySet<Place>,
  numbers: ReadonlyMap<Place, number>,
): boolean {
  for (const [next, count] of start.next) if (count > 1 && circle.has(next)) return true
  const keyOf = (one: Place, two: Place): number =>
    (numbers.get(one) ?? 0) * numbers.size + (numbers.get(two) ?? 0)
  const seen = new Set<number>()
  const open: (readonly [Place, Place, boolean])[] = [[start, start, false]]
  for (let pair = open.pop(); pair !== undefined; pair = open.pop()) {
    const [one, two, haveParted] = pair
    for (const a of one.next.keys()) {
      for (const b of two.next.keys()) {
        if (!circle.has(a) || !circle.has(b) || (a.signs & b.signs) === 0n) continue
        const parted = haveParted || a !== b
        if (parted && a === start && b === start) return true
        const key = keyOf(a, b) * 2 + (parted ? 1 : 0)
        if (seen.has(key)) continue
        seen.add(key)
        open.push([a, b, parted])
      }
    }
  }
  return false
}

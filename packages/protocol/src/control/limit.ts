/**
 * The accounts on which one part of a limit is counted; a limit without one is counted as its row
 * states.
 */
export const limitShares = ['address', 'caller', 'identity', 'receiver'] as const

/**
 * A bound that input can reach. Its name is `limits.<key>` where `countersign.yaml` sets it, and
 * `<area>.<key>` where it is a constant; each name is a row of docs/operate/limits.md.
 */
export interface Limit {
  readonly name: `${string}.${string}`
  readonly value: number
  readonly unit: 'bytes' | 'ms' | 'count' | 'per-minute'
  /** Set for the part of a total that one of these may have. */
  readonly per?: (typeof limitShares)[number]
}

const kibi = 1024

const suffixes: Readonly<Record<string, readonly [size: number, unit: Limit['unit']]>> = {
  GiB: [kibi ** 3, 'bytes'],
  MiB: [kibi ** 2, 'bytes'],
  KiB: [kibi, 'bytes'],
  bytes: [1, 'bytes'],
  h: [3_600_000, 'ms'],
  min: [60_000, 'ms'],
  s: [1000, 'ms'],
  ms: [1, 'ms'],
  '': [1, 'count'],
  'per minute': [1, 'per-minute'],
}

/**
 * The text that a refusal carries to the caller and the ledger: `limits.bodyBytes, 4 MiB`, or
 * `limits.responseMemoryBytes, 16 MiB per receiver`. A value that is not a multiple of a larger
 * unit stands in the smallest one: a rounded limit would send the reader after the wrong number.
 */
export function formatLimit({ name, value, unit, per }: Limit): string {
  // Bytes and pieces are counted whole: a bound of 2.5 of them is a bound of 2.
  const whole = Math.floor(value)
  const [suffix = '', [size] = [1]] =
    Object.entries(suffixes).find(
      ([, [each, of]]) => of === unit && (each === 1 || (whole >= each && whole % each === 0)),
    ) ?? []
  return [`${name}, ${whole / size}`, suffix, per === undefined ? '' : `per ${per}`]
    .filter((word) => word !== '')
    .join(' ')
}

const textLengthMax = 128

/** The inverse of `formatLimit`, for text that a peer sent; null in any other form. */
export function parseLimit(text: string): Limit | null {
  if (text.length > textLengthMax) return null
  const [name = '', amount = ''] = text.split(', ')
  const [area = '', key = ''] = name.split('.')
  if (!/^[a-z]+$/.test(area) || !/^[A-Za-z0-9]+$/.test(key)) return null
  const [number = '', ...words] = amount.split(' ')
  const per = words.at(-2) === 'per' ? limitShares.find((each) => each === words.at(-1)) : undefined
  const suffix = words.slice(0, per === undefined ? words.length : -2).join(' ')
  const [size, unit] = (Object.hasOwn(suffixes, suffix) ? suffixes[suffix] : undefined) ?? []
  if (size === undefined || unit === undefined) return null
  const limit = { name: `${area}.${key}`, value: Number(number) * size, unit } as const
  const parsed = per === undefined ? limit : { ...limit, per }
  // People read it in messages and logs: there is one spelling, and nothing may stand around it.
  const isCount = Number.isSafeInteger(parsed.value) && parsed.value >= 0
  return isCount && formatLimit(parsed) === text ? parsed : null
}

/** The text of a limit as a peer sent it; null where `parseLimit` reads none. */
export function parseLimitText(text: string): string | null {
  return parseLimit(text) === null ? null : text
}

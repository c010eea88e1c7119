import type { RefusalCode } from '@countersign/protocol'
import { Refusal } from './refusal.ts'

/**
 * A bound that input can reach. Its name is `limits.<key>` where `countersign.yaml` sets it, and
 * `<area>.<key>` where it is a constant; each name is a row of docs/operate/limits.md.
 */
export interface Limit {
  readonly name: `${string}.${string}`
  readonly value: number
  readonly unit: 'bytes' | 'ms' | 'count' | 'per-minute'
}

/** `limits.bodyBytes, 4 MiB`: the text that a refusal carries to the caller and the ledger. */
export function formatLimit({ name, value, unit }: Limit): string {
  return `${name}, ${formatValue(value, unit)}`
}

function formatValue(value: number, unit: Limit['unit']): string {
  switch (unit) {
    case 'bytes':
      return inLargest(value, 'bytes', [
        [1024 ** 3, 'GiB'],
        [1024 ** 2, 'MiB'],
        [1024, 'KiB'],
      ])
    case 'ms':
      return inLargest(value, 'ms', [
        [3_600_000, 'h'],
        [60_000, 'min'],
        [1000, 's'],
      ])
    case 'count':
      return String(value)
    case 'per-minute':
      return `${value} per minute`
  }
}

/** Exact in every case: a rounded limit would send the reader after the wrong number. */
function inLargest(
  value: number,
  smallest: string,
  units: readonly (readonly [number, string])[],
): string {
  const unit = units.find(([size]) => value >= size && value % size === 0)
  return unit === undefined ? `${value} ${smallest}` : `${value / unit[0]} ${unit[1]}`
}

/** A refusal that names the limit that was reached. */
export function overLimit(
  code: RefusalCode,
  limit: Limit,
  detail = '',
  retryAfterMs: number | null = null,
): Refusal {
  const text = formatLimit(limit)
  const full = detail === '' ? `over ${text}` : `${detail}; over ${text}`
  return new Refusal(code, full, retryAfterMs, { limit: text })
}

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

/**
 * The network that limits count an address under: an IPv4 address itself, an IPv6 address by its
 * first 64 bits, since one subscriber holds 2^64 addresses (RFC 4291, section 2.5.4).
 */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [before = '', after] = address.split('%', 1)[0]?.split('::') ?? []
  const groups = before === '' ? [] : before.split(':')
  if (after !== undefined) {
    const tail = after === '' ? [] : after.split(':')
    while (groups.length + tail.length < 8) groups.push('0')
    groups.push(...tail)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}

import { EvaluationError } from './evaluation-error.ts'
import type { IpValue } from './ip.ts'
import { addLongs, divideLongs, type Long, subtractLongs, toLong } from './long.ts'

/** `scaled` is the number times 10,000. */
export interface DecimalValue {
  readonly extension: 'decimal'
  readonly scaled: Long
}

/** Milliseconds since 1970-01-01T00:00:00Z. */
export interface DatetimeValue {
  readonly extension: 'datetime'
  readonly ms: Long
}

export interface DurationValue {
  readonly extension: 'duration'
  readonly ms: Long
}

export type ExtensionValue = DecimalValue | DatetimeValue | DurationValue | IpValue

export function isExtension(value: unknown): value is ExtensionValue {
  return typeof value === 'object' && value !== null && 'extension' in value
}

export function equalExtensions(a: ExtensionValue, b: ExtensionValue): boolean {
  if (a.extension === 'decimal') return b.extension === 'decimal' && a.scaled === b.scaled
  if (a.extension === 'ipaddr') {
    return (
      b.extension === 'ipaddr' &&
      a.bits === b.bits &&
      a.address === b.address &&
      a.prefix === b.prefix
    )
  }
  return a.extension === b.extension && a.ms === b.ms
}

const decimalForm = /^(-?)([0-9]+)\.([0-9]{1,4})$/

export function parseDecimal(text: string): DecimalValue {
  const [, sign, whole = '', fraction = ''] = decimalForm.exec(text) ?? []
  if (sign === undefined) throw new EvaluationError(`"${text}" is not a decimal`)
  const scaled = BigInt(whole) * 10_000n + BigInt(fraction.padEnd(4, '0'))
  return { extension: 'decimal', scaled: toLong(sign === '-' ? -scaled : scaled) }
}

const dayMs = 86_400_000
const datetimeForm =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{3}))?(?:Z|([+-])([0-9]{2})([0-9]{2})))?$/

export function parseDatetime(text: string): DatetimeValue {
  const match = datetimeForm.exec(text)
  if (match === null) throw new EvaluationError(`"${text}" is not a datetime`)
  const [year, month, day, hour, minute, second, ms, , offsetHour, offsetMinute] = match
    .slice(1)
    .map((part) => Number(part ?? 0)) as [number, number, number, ...number[]]
  const clock = [hour ?? 0, minute ?? 0, second ?? 0, ms ?? 0] as const
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  const isCalendarDay = date.getUTCMonth() === month - 1 && date.getUTCDate() === day
  const isClockTime = clock[0] < 24 && clock[1] < 60 && clock[2] < 60
  const isOffset = (offsetHour ?? 0) < 24 && (offsetMinute ?? 0) < 60
  if (!isCalendarDay || !isClockTime || !isOffset) {
    throw new EvaluationError(`"${text}" is not a datetime that exists`)
  }
  date.setUTCHours(...clock)
  const offsetMs = ((offsetHour ?? 0) * 60 + (offsetMinute ?? 0)) * 60_000
  return { extension: 'datetime', ms: date.getTime() + (match[8] === '-' ? offsetMs : -offsetMs) }
}

const durationForm =
  /^(-?)(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?!s))?(?:([0-9]+)s)?(?:([0-9]+)ms)?$/
const unitsMs = [86_400_000n, 3_600_000n, 60_000n, 1_000n, 1n]

export function parseDuration(text: string): DurationValue {
  const [, sign, ...parts] = durationForm.exec(text) ?? []
  if (sign === undefined || parts.every((part) => part === undefined)) {
    throw new EvaluationError(`"${text}" is not a duration`)
  }
  let total = 0n
  for (const [i, unit] of unitsMs.entries()) total += BigInt(parts[i] ?? 0) * unit
  return { extension: 'duration', ms: toLong(sign === '-' ? -total : total) }
}

export function offsetDatetime(at: DatetimeValue, by: DurationValue): DatetimeValue {
  return { extension: 'datetime', ms: addLongs(at.ms, by.ms) }
}

export function durationSince(later: DatetimeValue, earlier: DatetimeValue): DurationValue {
  return { extension: 'duration', ms: subtractLongs(later.ms, earlier.ms) }
}

/** Midnight before, also for times before 1970. */
export function toDate(at: DatetimeValue): DatetimeValue {
  return { extension: 'datetime', ms: subtractLongs(at.ms, toTime(at).ms) }
}

export function toTime(at: DatetimeValue): DurationValue {
  const day = BigInt(dayMs)
  const rest = BigInt(at.ms) % day
  return { extension: 'duration', ms: toLong(rest < 0n ? rest + day : rest) }
}

export function durationIn(duration: DurationValue, unitMs: number): Long {
  return divideLongs(duration.ms, unitMs)
}

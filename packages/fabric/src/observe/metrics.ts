/**
 * Counters, gauges and histograms, and their text in the two formats that monitoring systems read:
 * OpenMetrics 1.0 and the older text format of Prometheus. docs/decisions states why it is our own.
 */
export type LabelValues = readonly string[]

/** One value of a family with its labels' values, in the order of the family's labels. */
export interface Sample {
  readonly labels: LabelValues
  readonly value: number
}

export interface Counter {
  add(labels: LabelValues, amount?: number): void
}

export interface Histogram {
  observe(labels: LabelValues, value: number): void
}

export interface FamilyOptions {
  /** Without `_total`, which counters get as their format demands. */
  readonly name: string
  readonly help: string
  readonly labels?: readonly string[]
}

/**
 * Of one family; the callers' own bounds are far below. Series that exceed it are counted together.
 */
const seriesMax = 5_000

/**
 * Separates label values in keys: no value holds it, for values are printed as one line of text.
 */
const separator = '\u0000'

type Kind = 'counter' | 'gauge' | 'histogram'

interface Family extends Required<FamilyOptions> {
  readonly kind: Kind
  readonly read: () => readonly Line[]
}

interface Line {
  readonly suffix: string
  readonly labels: LabelValues
  readonly more: readonly (readonly [name: string, value: string])[]
  readonly value: number
}

export class Metrics {
  readonly #families = new Map<string, Family>()
  readonly #before: (() => Promise<void>)[] = []

  counter(options: FamilyOptions): Counter {
    const series = new Series<{ value: number }>(options, () => ({ value: 0 }))
    this.#register(options, 'counter', () =>
      series.map((labels, { value }) => [{ suffix: '_total', labels, more: [], value }]),
    )
    return {
      add: (labels, amount = 1) => {
        series.at(labels).value += amount
      },
    }
  }

  /** Read when it is asked for; what is not a number at that moment is left out. */
  gauge(options: FamilyOptions, read: () => number | readonly Sample[] | null): void {
    this.#register(options, 'gauge', () => linesOf(read(), ''))
  }

  /** A counter that something else keeps. */
  total(options: FamilyOptions, read: () => number | readonly Sample[] | null): void {
    this.#register(options, 'counter', () => linesOf(read(), '_total'))
  }

  histogram(options: FamilyOptions & { readonly buckets: readonly number[] }): Histogram {
    const { buckets } = options
    const series = new Series(options, () => ({
      counts: Array.from({ length: buckets.length + 1 }, () => 0),
      sum: 0,
    }))
    this.#register(options, 'histogram', () =>
      series.map((labels, of) => bucketLines(buckets, labels, of)),
    )
    return {
      observe(labels, value) {
        const of = series.at(labels)
        const found = buckets.findIndex((bound) => value <= bound)
        const at = found === -1 ? buckets.length : found
        of.counts[at] = (of.counts[at] ?? 0) + 1
        of.sum += value
      },
    }
  }

  /** Measures what cannot be read at once, before each text. */
  before(measure: () => Promise<void>): void {
    this.#before.push(measure)
  }

  async format(format: 'openmetrics' | 'prometheus'): Promise<string> {
    await Promise.all(this.#before.map((measure) => measure()))
    const families = [...this.#families.values()].flatMap((family) => formatFamily(family, format))
    return [...families, ...(format === 'openmetrics' ? ['# EOF'] : []), ''].join('\n')
  }

  #register({ name, help, labels = [] }: FamilyOptions, kind: Kind, read: Family['read']): void {
    if (this.#families.has(name)) throw new TypeError(`two families are named ${name}`)
    this.#families.set(name, { name, help, labels, kind, read })
  }
}

/** The values of one family, by their labels. */
class Series<Value> {
  readonly #labels: number
  readonly #create: () => Value
  readonly #values = new Map<string, { readonly labels: LabelValues; readonly value: Value }>()

  constructor({ labels = [] }: FamilyOptions, create: () => Value) {
    this.#labels = labels.length
    this.#create = create
  }

  at(labels: LabelValues): Value {
    const found = this.#values.get(labels.join(separator))
    if (found !== undefined) return found.value
    if (labels.length !== this.#labels) throw new TypeError('another number of labels')
    const kept = this.#values.size < seriesMax ? labels : labels.map(() => 'other')
    const key = kept.join(separator)
    const known = this.#values.get(key)
    if (known !== undefined) return known.value
    const value = this.#create()
    this.#values.set(key, { labels: kept, value })
    return value
  }

  map(lines: (labels: LabelValues, value: Value) => readonly Line[]): readonly Line[] {
    return [...this.#values.values()].flatMap(({ labels, value }) => lines(labels, value))
  }
}

function linesOf(read: number | readonly Sample[] | null, suffix: string): readonly Line[] {
  if (read === null) return []
  const samples = typeof read === 'number' ? [{ labels: [], value: read }] : read
  return samples.map(({ labels, value }) => ({ suffix, labels, more: [], value }))
}

function bucketLines(
  buckets: readonly number[],
  labels: LabelValues,
  { counts, sum }: { readonly counts: readonly number[]; readonly sum: number },
): readonly Line[] {
  let value = 0
  const lines = counts.map((count, at): Line => {
    value += count
    const bound = buckets[at]
    const le = bound === undefined ? '+Inf' : formatNumber(bound)
    return { suffix: '_bucket', labels, more: [['le', le]], value }
  })
  return [
    ...lines,
    { suffix: '_count', labels, more: [], value },
    { suffix: '_sum', labels, more: [], value: sum },
  ]
}

function formatFamily(
  { name, help, labels, kind, read }: Family,
  format: 'openmetrics' | 'prometheus',
): readonly string[] {
  const lines = read().filter(({ value }) => Number.isFinite(value))
  if (lines.length === 0) return []
  // In the older format a counter's family has the name of its one series.
  const family = kind === 'counter' && format === 'prometheus' ? `${name}_total` : name
  return [
    `# HELP ${family} ${escaped(help)}`,
    `# TYPE ${family} ${kind}`,
    ...lines.map((line) => {
      const pairs = [
        ...labels.map((label, at): readonly [string, string] => [label, line.labels[at] ?? '']),
        ...line.more,
      ].map(([label, value]) => `${label}="${escaped(value)}"`)
      const set = pairs.length === 0 ? '' : `{${pairs.join(',')}}`
      return `${name}${line.suffix}${set} ${formatNumber(line.value)}`
    }),
  ]
}

/** OpenMetrics, section 5.1: three characters are escaped, in help texts as in label values. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function formatNumber(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e15
    ? `${value}.0`.replace(/\.0$/, '')
    : String(value)
}

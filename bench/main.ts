import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measureControls, measureGateway } from './gateway.ts'
import { measureLedger } from './ledger.ts'
import { measureMesh } from './mesh.ts'
import { type Options, parseOptions } from './options.ts'
import { measurePolicy } from './policy.ts'
import { measureQueueRows } from './queue-rows.ts'
import { measureReceipts } from './receipts.ts'
import { measureRedaction, measureWorstText } from './redaction.ts'
import { type Row, row, tableOf } from './row.ts'
import { measureStart } from './start.ts'

type Group = (dir: string, options: Options) => Promise<readonly Row[]>

/**
 * Each group measures us and its baseline in one run; figures of two runs compare only as ratios.
 */
const groups: Readonly<Record<string, Group>> = {
  start: measureStart,
  policy: policyRows,
  redaction: redactionRows,
  ledger: ledgerRows,
  receipts: receiptRows,
  queue: measureQueueRows,
  gateway: measureGateway,
  controls: measureControls,
  mesh: measureMesh,
}

async function policyRows(): Promise<readonly Row[]> {
  const { decisionsPerSecond10, decisionsPerSecond1000, wasmPerSecond10 } = await measurePolicy()
  const baseline = 'cedar-wasm'
  const ratio = decisionsPerSecond10 / wasmPerSecond10
  return [
    row('policy.decisions-per-s', decisionsPerSecond10, '1/s', {
      baseline,
      ratio,
      note: '10 policies, one core',
    }),
    row('policy.decisions-per-s-1000', decisionsPerSecond1000, '1/s', {
      note: '1,000 policies, one core',
    }),
  ]
}

async function redactionRows(): Promise<readonly Row[]> {
  const { mbPerSecond } = await measureRedaction()
  const slowest = Math.min(...Object.values(mbPerSecond))
  const worst = measureWorstText()
  return [
    row('redaction.mb-per-s', mbPerSecond['clean 8 KB'] ?? slowest, 'MB/s', {
      note: 'JSON of 8 KB, all classes, nothing to mask',
    }),
    ...Object.entries(mbPerSecond).map(([body, value]) =>
      row(`redaction.mb-per-s ${body}`, value, 'MB/s'),
    ),
    row('redaction.worst-us-per-kb', worst.microsecondsPerKb, 'µs', {
      note: 'text that is made to be costly, 8 KB',
    }),
    row('redaction.worst-ns-per-step', worst.nanosecondsPerStep, 'ns', { note: 'at most 10' }),
  ]
}

async function ledgerRows(dir: string): Promise<readonly Row[]> {
  const figures = await measureLedger(join(dir, 'ledger'))
  return figures.flatMap((figure) => {
    const at = `${figure.inFlight} in flight`
    const main = figure.inFlight === 256
    const name = (metric: string) => (main ? `ledger.${metric}` : `ledger.${metric} ${at}`)
    return [
      row(name('entries-per-s'), figure.entriesPerSecond, '1/s', {
        note: `${at}, ${Math.round(figure.fsyncsPer1000)} syncs per 1,000 acknowledgements`,
      }),
      row(name('p99-ms'), figure.p99Ms, 'ms', { note: `${at}, p50 ${figure.p50Ms.toFixed(1)} ms` }),
      row(name('cpu-us-per-entry'), figure.cpuUsPerEntry, 'µs', { note: at }),
    ]
  })
}

async function receiptRows(dir: string): Promise<readonly Row[]> {
  const figures = await measureReceipts(dir)
  return figures.map(({ entries, meanMs, p99Ms, cpuUs }) =>
    row(`ledger.receipt-ms at ${entries.toLocaleString('en')} entries`, meanMs, 'ms', {
      note: `of any age, p99 ${p99Ms.toFixed(2)} ms, ${Math.round(cpuUs)} µs CPU`,
    }),
  )
}

function optionsOrExit(): Options {
  try {
    return parseOptions(process.argv.slice(2), Object.keys(groups))
  } catch (cause) {
    console.error(cause instanceof Error ? cause.message : String(cause))
    process.exit(2)
  }
}

const options = optionsOrExit()
const dir = await mkdtemp(join(tmpdir(), 'countersign-bench-'))
const rows: Row[] = []
try {
  for (const name of options.groups) {
    console.log(`\n${name}`)
    const taken = (await groups[name]?.(dir, options)) ?? []
    for (const line of tableOf(taken)) console.log(line)
    rows.push(...taken)
  }
} finally {
  await rm(dir, { recursive: true, force: true })
}
const published = rows.map(({ note: _, ...rest }) => rest)
await writeFile(new URL('results.json', import.meta.url), `${JSON.stringify(published, null, 2)}\n`)
process.exit(0)

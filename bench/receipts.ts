import { mkdir, rm } from 'node:fs/promises'
import { createExchangeId } from '@countersign/protocol'
import { openFileLedgerStore } from '../packages/fabric/src/adapters/file/ledger-store.ts'
import type { EntryDraft, Ledger } from '../packages/fabric/src/ledger/ledger.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import { openBenchLedger } from './ledger.ts'

export interface ReceiptFigures {
  readonly entries: number
  readonly meanMs: number
  readonly p99Ms: number
  /** User and system time of the whole process. */
  readonly cpuUs: number
}

const sizes = [10_000, 100_000, 1_000_000]
const inFlight = 64
const lookups = 4_000

/**
 * Receipts of exchanges that are drawn from the whole log, one after the other, as the log grows.
 * Each exchange has an intent and an outcome. The files are in the page cache, and the index of
 * groups is made by the first of two rounds.
 */
export async function measureReceipts(dir: string): Promise<readonly ReceiptFigures[]> {
  const directory = `${dir}/receipts`
  await mkdir(directory, { recursive: true })
  const ledger = await openBenchLedger(await openFileLedgerStore({ directory }))
  const exchanges: string[] = []
  const figures: ReceiptFigures[] = []
  for (const size of sizes) {
    await grow(ledger, exchanges, size / 2)
    await measure(ledger, exchanges)
    figures.push(await measure(ledger, exchanges))
  }
  await ledger.close()
  await rm(directory, { recursive: true })
  return figures
}

async function grow(ledger: Ledger, exchanges: string[], count: number): Promise<void> {
  const worker = async () => {
    while (exchanges.length < count) {
      const at = Date.now()
      const exchange = createExchangeId(ledger.slot, at, systemRandom(10))
      exchanges.push(exchange)
      await ledger.append(draft('intent', exchange, at))
      await ledger.append(draft('outcome', exchange, Date.now()))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  while (ledger.state.publishedSize < ledger.size) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function measure(ledger: Ledger, exchanges: readonly string[]): Promise<ReceiptFigures> {
  const latencies = new Float64Array(lookups)
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (let i = 0; i < lookups; i++) {
    // A step of the golden ratio: evenly over the log, and each draw far from the last one.
    const drawn = Math.floor(((i * 0.618_034) % 1) * exchanges.length)
    const before = performance.now()
    const receipt = await ledger.findReceipt(exchanges[drawn] ?? '')
    latencies[i] = performance.now() - before
    if (receipt === null) throw new Error('an exchange has no receipt')
  }
  const total = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  latencies.sort()
  return {
    entries: ledger.size,
    meanMs: total / lookups,
    p99Ms: latencies[Math.floor(lookups * 0.99)] ?? 0,
    cpuUs: (user + system) / lookups,
  }
}

const digest = systemRandom(32)

function draft(kind: 'intent' | 'outcome', exchange: string, at: number): EntryDraft {
  const common = { caller: 'spiffe://bench.example/agent/planner', receiver: 'tools' }
  const facts =
    kind === 'intent'
      ? { ...common, 'request.digest': digest, protocol: 'mcp', operation: 'tools/call' }
      : { ...common, 'response.digest': digest, result: 'delivered', status: 200 }
  return { kind, exchange, at, facts }
}

import { describe, expect, test } from 'vitest'
import type { LoadAnswer } from '../../bench/load-process.ts'
import { parseOptions } from '../../bench/options.ts'
import { envoy } from '../../bench/peers/envoy.ts'
import { haproxy } from '../../bench/peers/haproxy.ts'
import { latencyBudgetRows, peerRows } from '../../bench/peers/rows.ts'
import { percentiles } from '../../bench/percentiles.ts'
import { missingRow, row, tableOf } from '../../bench/row.ts'

const answer: LoadAnswer = {
  ...{ requests: 5000, failures: 0, seconds: 5, p50Ms: 1, p99Ms: 2 },
  ...{ cpuUs: 100, cpuUsBeside: 0 },
}
const ours = {
  taken: { ...answer, cpuUs: 700, perSecond: 1000 },
  halfPerSecond: 500,
  added: { p50Ms: 8, p99Ms: 30 },
}
const envoyFigures = {
  peer: envoy('each'),
  taken: { ...answer, perSecond: 8000 },
  halfPerSecond: 4000,
  added: { p50Ms: 1, p99Ms: 6 },
  addedAtRate: { p50Ms: 0.5, p99Ms: 3 },
}

describe('options', () => {
  const known = ['ledger', 'gateway']

  test('no group means every group, in the order of the bench', () => {
    expect(parseOptions([], known).groups).toEqual(known)
    expect(parseOptions(['gateway', 'ledger'], known).groups).toEqual(known)
    expect(parseOptions(['gateway', '--seconds', '2'], known)).toMatchObject({
      groups: ['gateway'],
      seconds: 2,
    })
  })

  test.each([
    [['gatway'], 'no group gatway; the groups are ledger, gateway'],
    [['--seconds', '0'], '--seconds takes a number from 1 to 600'],
    [['--seconds', 'soon'], '--seconds takes a number from 1 to 600'],
    [['--secnds', '5'], "Unknown option '--secnds'"],
  ])('%j is not measured as something else', (args, message) => {
    expect(() => parseOptions(args, known)).toThrow(message)
  })
})

test('percentiles sort by value and leave the latencies alone', () => {
  const latencies = Array.from({ length: 100 }, (_, i) => (i * 7) % 100)
  const before = [...latencies]
  expect(percentiles(latencies)).toEqual({ p50Ms: 50, p99Ms: 99 })
  expect(latencies).toEqual(before)
  expect(percentiles([])).toEqual({ p50Ms: 0, p99Ms: 0 })
})

test('a peer that is missing is a line of the table, with its installation', () => {
  const rows = peerRows(ours, { figures: [envoyFigures], missing: [haproxy] })
  const lines = tableOf(rows)
  expect(lines.at(-1)).toMatch(/^gateway.cpu-us-per-request HAProxy +– +not installed: apt-get/)
})

test('ratios divide our processor time by that of the peer', () => {
  const rows = peerRows(ours, { figures: [envoyFigures], missing: [] })
  const ratio = rows.find(({ name }) => name.endsWith('ours / Envoy'))
  expect(ratio).toMatchObject({ value: 7, unit: '×' })
})

test('the budget of latency is two hops of Envoy and two syncs', () => {
  const disk = { p50Ms: 1, p99Ms: 4 }
  const peers = { figures: [envoyFigures], missing: [] }
  expect(latencyBudgetRows(ours, peers, disk)).toMatchObject([{ value: 20, ratio: 1.5 }])
  expect(latencyBudgetRows(ours, { figures: [], missing: [envoy('each')] }, disk)).toEqual([])
})

test('columns of the table are as wide as their widest cell', () => {
  const rows = [row('a', 1234.4, 'ms', { note: 'n' }), missingRow('longer', 'how')]
  expect(tableOf(rows)).toEqual([
    'a       1,234  ms    n',
    'longer      –        not installed: how',
  ])
})

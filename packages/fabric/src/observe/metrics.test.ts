import { describe, expect, test } from 'vitest'
import { observeExchanges } from './exchange-metrics.ts'
import { Metrics } from './metrics.ts'

describe('metrics', () => {
  test('are written in both formats', async () => {
    const metrics = new Metrics()
    const requests = metrics.counter({ name: 'requests', help: 'How many.', labels: ['to'] })
    requests.add(['billing'])
    requests.add(['billing'], 2)
    metrics.gauge({ name: 'free_bytes', help: 'Free.' }, () => 1.5)
    metrics.gauge({ name: 'unknown_bytes', help: 'Not known.' }, () => null)
    expect(await metrics.format('openmetrics')).toBe(
      [
        '# HELP requests How many.',
        '# TYPE requests counter',
        'requests_total{to="billing"} 3',
        '# HELP free_bytes Free.',
        '# TYPE free_bytes gauge',
        'free_bytes 1.5',
        '# EOF',
        '',
      ].join('\n'),
    )
    expect(await metrics.format('prometheus')).toContain('# TYPE requests_total counter\n')
  })

  test('have cumulative buckets that end with all observations', async () => {
    const metrics = new Metrics()
    const seconds = metrics.histogram({ name: 'seconds', help: 'How long.', buckets: [0.1, 1] })
    for (const value of [0.0625, 0.125, 0.5, 7]) seconds.observe([], value)
    expect((await metrics.format('prometheus')).split('\n').slice(2, 7)).toEqual([
      'seconds_bucket{le="0.1"} 1',
      'seconds_bucket{le="1"} 3',
      'seconds_bucket{le="+Inf"} 4',
      'seconds_count 4',
      'seconds_sum 7.6875',
    ])
  })

  test('escape what stands in a label', async () => {
    const metrics = new Metrics()
    metrics.counter({ name: 'a', help: 'b', labels: ['c'] }).add(['"\\\n'])
    expect(await metrics.format('prometheus')).toContain('a_total{c="\\"\\\\\\n"} 1')
  })

  test('have bounded series, however many labels there are', async () => {
    const metrics = new Metrics()
    const counter = metrics.counter({ name: 'a', help: 'b', labels: ['c'] })
    for (let i = 0; i < 10_000; i++) counter.add([`x${i}`])
    const lines = (await metrics.format('prometheus')).split('\n')
    expect(lines.length).toBeLessThan(5_010)
    expect(lines).toContain('a_total{c="other"} 5000')
  })
})

function counted(known: readonly string[]) {
  const metrics = new Metrics()
  let at = 0
  const count = observeExchanges({
    metrics,
    isKnown: (name) => known.includes(name),
    monotonic: () => at,
  })
  return {
    count,
    wait: (ms: number) => {
      at += ms
    },
    text: () => metrics.format('prometheus'),
  }
}

describe('exchanges', () => {
  test('are counted and timed by transport and receiver', async () => {
    const { count, wait, text } = counted(['billing'])
    const facts = { transport: 'gateway', receiver: 'billing' }
    count({ kind: 'intent', exchange: '1', facts })
    wait(30)
    count({ kind: 'outcome', exchange: '1', facts: { result: 'delivered' } })
    count({ kind: 'refusal', exchange: '2', facts: { ...facts, code: 'NOT_PERMITTED' } })
    const of = 'transport="gateway",receiver="billing"'
    expect((await text()).split('\n')).toEqual(
      expect.arrayContaining([
        `countersign_requests_total{${of},result="delivered"} 1`,
        `countersign_requests_total{${of},result="refused"} 1`,
        'countersign_refusals_total{transport="gateway",code="NOT_PERMITTED"} 1',
        `countersign_request_duration_seconds_bucket{${of},le="0.025"} 0`,
        `countersign_request_duration_seconds_bucket{${of},le="0.05"} 1`,
        `countersign_request_duration_seconds_sum{${of}} 0.03`,
        'countersign_entries_total{kind="intent"} 1',
      ]),
    )
  })

  test('to names that no receiver has are counted together', async () => {
    const { count, text } = counted([])
    for (let i = 0; i < 1000; i++) {
      const facts = { transport: 'gateway', receiver: `made-up-${i}`, code: 'NOT_PERMITTED' }
      count({ kind: 'refusal', exchange: `${i}`, facts })
    }
    expect(await text()).not.toContain('made-up')
    expect(await text()).toContain('receiver="other",result="refused"} 1000')
  })

  test('to more receivers than there are series are counted together', async () => {
    const names = Array.from({ length: 150 }, (_, i) => `agent-${i}`)
    const { count, text } = counted(names)
    for (const receiver of names) {
      count({ kind: 'refusal', exchange: receiver, facts: { transport: 'mesh', receiver } })
    }
    expect(await text()).toContain('receiver="agent-99"')
    expect(await text()).not.toContain('receiver="agent-100"')
    expect(await text()).toContain('receiver="other",result="refused"} 50')
  })

  test('with words that a connector made up get none as a label', async () => {
    const { count, text } = counted([])
    const facts = { transport: 'x" 1\n', receiver: 'y', code: 'z'.repeat(1000) }
    count({ kind: 'refusal', exchange: '1', facts })
    expect(await text()).toContain('countersign_refusals_total{transport="none",code="none"} 1')
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Activity, activityResults, activityWindows, type EdgeEvent } from './activity.ts'
import { addLatencies, countLatency, quantileOf } from './latency-classes.ts'

const start = Date.UTC(2026, 2, 2, 8)
const minute = 60_000

const eventAt = (at: number, of: Partial<EdgeEvent> = {}): EdgeEvent => ({
  ...{ at, caller: 'shop', kind: 'agent', receiver: 'billing', result: 'delivered' },
  ...{ latencyMs: 10, requestBytes: 1, responseBytes: 2 },
  ...of,
})

describe('activity', () => {
  test('is what ended within the parts of a window, also after a restart', () => {
    const event = fc.record({
      afterMs: fc.integer({ min: 0, max: 40 * minute }),
      caller: fc.constantFrom('shop', 'courier'),
      receiver: fc.constantFrom('billing', 'vault'),
      kind: fc.constantFrom('agent', 'channel'),
      result: fc.constantFrom(...activityResults),
      latencyMs: fc.option(fc.integer({ min: 0, max: 5_000 })),
      requestBytes: fc.integer({ min: 0, max: 100 }),
      responseBytes: fc.integer({ min: 0, max: 100 }),
    })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), fc.nat(60), (steps, restartAt) => {
        let at = start
        let activity = new Activity()
        const events = steps.map(({ afterMs, ...rest }) => ({ ...rest, at: (at += afterMs) }))
        for (const [i, each] of events.entries()) {
          if (i === restartAt) {
            const next = new Activity()
            next.restore([...activity.lines()])
            activity = next
          }
          activity.observe(each)
        }
        for (const window of ['hour', 'day'] as const) {
          const { partMs, parts } = activityWindows[window]
          const { from, edges } = activity.read(window, at)
          expect(from).toBe((Math.floor(at / partMs) - parts + 1) * partMs)
          const inside = events.filter((each) => each.at >= from)
          expect(edges.reduce((sum, edge) => sum + edge.exchanges, 0)).toBe(inside.length)
          for (const { caller, kind, receiver, latency, ...edge } of edges) {
            const own = inside.filter(
              (each) => each.caller === caller && each.kind === kind && each.receiver === receiver,
            )
            for (const result of activityResults) {
              expect(edge[result]).toBe(own.filter((each) => each.result === result).length)
            }
            expect(edge.requestBytes).toBe(own.reduce((sum, each) => sum + each.requestBytes, 0))
            expect(edge.responseBytes).toBe(own.reduce((sum, each) => sum + each.responseBytes, 0))
            const times = own.flatMap(({ latencyMs }) => (latencyMs === null ? [] : [latencyMs]))
            expect(latency?.longest ?? null).toBe(times.length === 0 ? null : Math.max(...times))
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  test('of a caller with made-up receivers takes its share, and not that of others', () => {
    const activity = new Activity({ edgesPerCaller: 10, edges: 40 })
    const edgesOf = (name: string) =>
      activity.read('hour', start).edges.filter(({ caller }) => caller === name)
    for (let i = 0; i < 5; i++) activity.observe(eventAt(start, { receiver: `own-${i}` }))
    for (let i = 0; i < 100; i++) {
      activity.observe(eventAt(start, { caller: 'flood', receiver: `made-up-${i}` }))
    }
    expect(edgesOf('shop').length).toBe(5)
    expect(edgesOf('flood').map(({ receiver }) => receiver)).toEqual(
      Array.from({ length: 10 }, (_, i) => `made-up-${90 + i}`),
    )
    // Those unseen longest make room.
    for (let i = 0; i < 30; i++) {
      for (let n = 0; n < 4; n++) {
        activity.observe(eventAt(start, { caller: `c-${i}`, receiver: `r-${n}` }))
        activity.observe(eventAt(start, { receiver: `own-0` }))
      }
    }
    expect(activity.size).toBe(40)
    expect(edgesOf('flood')).toEqual([])
    expect(edgesOf('shop').length).toBe(5)
    const full = activity.read('hour', start).edges.length
    for (let i = 0; i < 100; i++) {
      activity.observe(eventAt(start, { caller: 'c-29', receiver: `made-up-${i}` }))
    }
    expect(activity.read('hour', start).edges.length).toBe(full)
    expect(edgesOf('c-28').length).toBe(4)
    expect(edgesOf('c-29').length).toBe(4)
    const again = new Activity()
    again.restore(activity.lines())
    expect(again.size).toBe(40)
  })

  test('of a connector with another clock neither ends a window nor fills it for ever', () => {
    const activity = new Activity()
    activity.observe(eventAt(start))
    activity.observe(eventAt(start - 2 * 24 * 60 * minute))
    activity.observe(eventAt(start - 10 * minute))
    expect(activity.read('hour', start).edges).toMatchObject([{ exchanges: 2 }])
    for (let i = 0; i < 500; i++) activity.observe(eventAt(start + i * 60 * minute))
    expect([...activity.lines()].join('').length).toBeLessThan(8_000)
  })

  test('is copied as it was at the call, whatever is counted meanwhile', () => {
    const activity = new Activity({ edgesPerCaller: 2, edges: 3 })
    for (const caller of ['a', 'b', 'c']) activity.observe(eventAt(start, { caller }))
    const before = [...activity.lines()]
    const lines = activity.lines()[Symbol.iterator]()
    const copied = [lines.next().value]
    for (const caller of ['a', 'b', 'd']) activity.observe(eventAt(start, { caller }))
    for (const _ of activity.forget((name) => name === 'c'));
    copied.push(lines.next().value, lines.next().value)
    expect(copied).toEqual(before)
  })
})

test('a quantile is not below the true one, and at most a fifth above it', () => {
  const times = fc.array(fc.integer({ min: 0, max: 900_000 }), { minLength: 1, maxLength: 80 })
  fc.assert(
    fc.property(times, fc.constantFrom(0.5, 0.95, 0.99), fc.nat(80), (all, quantile, cut) => {
      const sum: number[] = []
      for (const part of [all.slice(0, cut), all.slice(cut)]) {
        const counts: number[] = []
        for (const ms of part) countLatency(counts, ms)
        addLatencies(sum, counts)
      }
      const sorted = all.toSorted((a, b) => a - b)
      const exact = sorted[Math.ceil(all.length * quantile) - 1] ?? 0
      const shown = quantileOf(sum, quantile, sorted.at(-1) ?? 0)
      expect(shown).toBeGreaterThanOrEqual(exact)
      expect(shown).toBeLessThanOrEqual(Math.ceil(Math.max(1, exact) * 1.2))
    }),
  )
  expect(quantileOf([], 0.5, 0)).toBe(0)
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  isRouteSettings,
  parseRouteSettings,
  ROUTE_BOUNDS,
  ROUTE_DEFAULTS,
  routeOperationFault,
} from './route-reliability.ts'

const numbers = Object.entries(ROUTE_BOUNDS).flatMap(([group, keys]) =>
  Object.entries(keys).map(([key, bounds]) => ({ group, key, ...bounds })),
)

describe('the settings of a route', () => {
  test('have their defaults, and are the same when they are read again', () => {
    expect(parseRouteSettings(undefined)).toEqual(ROUTE_DEFAULTS)
    expect(ROUTE_DEFAULTS.retries.resend).toBe(false)
    fc.assert(
      fc.property(
        fc.constantFrom(...numbers),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (at, part) => {
          const value = at.min + Math.floor((at.max - at.min) * part)
          const read = parseRouteSettings({ [at.group]: { [at.key]: value } })
          expect(read).toMatchObject({ [at.group]: { [at.key]: value } })
          expect(parseRouteSettings(JSON.parse(JSON.stringify(read)))).toEqual(read)
        },
      ),
    )
  })

  test('are refused outside of their bounds, under another name and in another type', () => {
    for (const { group, key, min, max } of numbers) {
      for (const value of [min - 1, max + 1, min + 0.5, String(min), Number.NaN, true]) {
        expect(() => parseRouteSettings({ [group]: { [key]: value } })).toThrow(MalformedError)
      }
    }
    const others = [
      ...[[], 'none', { retry: {} }, { retries: { resent: true } }, { retries: { resend: 'yes' } }],
      ...[{ timeouts: [] }, { retries: { operations: 'tools/list' } }],
      { retries: { operations: Array<string>(65).fill('ping') } },
    ]
    for (const other of others) expect(isRouteSettings(other)).toBe(false)
  })

  test('name operations of A2A and MCP, and one tool at a time', () => {
    for (const name of ['tools/list', 'tools/call search', 'SendMessage', 'resources/read']) {
      expect(routeOperationFault(name)).toBeNull()
    }
    const refused = ['', 'tools/call', 'tools/call ', 'tools/call a b', 'tools/list a', 'POST', 'x']
    for (const name of refused) expect(routeOperationFault(name)).not.toBeNull()
  })
})

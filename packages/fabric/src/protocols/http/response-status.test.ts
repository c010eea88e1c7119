import { mayHaveActed, REFUSALS, type RefusalCode } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { GATEWAY_WIRE } from '../../transports/gateway/wire.ts'
import { MESH_WIRE } from '../../transports/mesh/wire.ts'
import { statedStatus, statusFault } from './response-status.ts'

test('a receiver answers with success, 304 or a failure that no client repeats by itself', () => {
  for (const status of [
    200, 204, 206, 299, 304, 400, 402, 403, 404, 409, 422, 429, 500, 503, 599,
  ]) {
    expect([status, statusFault(status)]).toEqual([status, null])
  }
  const others = [0, 100, 101, 103, 199, 300, 301, 302, 303, 305, 307, 308, 399, 600, 999]
  for (const status of [...others, 401, 407, 408, 411, 417, 421, 425, 426, 449, 505, 511]) {
    expect([status, statusFault(status)]).not.toEqual([status, null])
  }
})

test('no refusal that may follow an act has a status that a client repeats by itself', () => {
  expect(statusFault(statedStatus)).toBeNull()
  const codes = Object.keys(REFUSALS) as RefusalCode[]
  for (const code of codes.filter((each) => each === 'WITHDRAWN' || mayHaveActed(each))) {
    expect([code, statusFault(GATEWAY_WIRE[code].status)]).toEqual([code, null])
    expect([code, statusFault(MESH_WIRE[code].status)]).toEqual([code, null])
  }
})

import { utf8 } from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { AgentError } from '../lib/fault.ts'
import { askControl, headerReader, retrying } from './control.ts'
import type { FabricConnection } from './fabric-connection.ts'

/** A connection that gives this answer, and keeps what it was asked. */
function answering(status: number, body: string, headers: readonly [string, string][] = []) {
  const asked: unknown[] = []
  async function* chunks() {
    yield await Promise.resolve(utf8(body))
  }
  const connection = {
    request: (request: unknown) => {
      asked.push(request)
      return Promise.resolve({ status, headers, body: chunks(), discard: () => undefined })
    },
  } as unknown as FabricConnection
  return { connection, asked }
}

const never = new AbortController().signal

describe('a request to the fabric', () => {
  test('sends its value as JSON, and reads JSON back', async () => {
    const { connection, asked } = answering(200, '{"a":1}')
    const request = { method: 'POST', path: '/v1/x', value: { b: 2 } } as const
    expect(await askControl(connection, request)).toEqual({ a: 1 })
    expect(asked).toMatchObject([
      { method: 'POST', path: '/v1/x', body: utf8('{"b":2}'), repeatable: false },
    ])
  })

  test('may be repeated only when it reads', async () => {
    const { connection, asked } = answering(200, '')
    expect(await askControl(connection, { method: 'GET', path: '/v1/x' })).toBeNull()
    expect(asked).toMatchObject([{ repeatable: true, headers: [['accept', 'application/json']] }])
  })

  test.each([
    ['a body that is not JSON', 200, '{"a":1'],
    ['a member that occurs twice', 200, '{"a":1,"a":2}'],
    ['a failure that is not a refusal', 500, '{}'],
    ['a redirect', 302, ''],
  ])('does not believe %s', async (_, status, body) => {
    const asking = askControl(answering(status, body).connection, { method: 'GET', path: '/v1/x' })
    await expect(asking).rejects.toMatchObject({ code: 'ANSWER_MALFORMED' })
  })

  test('throws the refusal that the answer states', async () => {
    const fields: [string, string][] = [['countersign-refusal', 'NOT_PERMITTED']]
    const { connection } = answering(403, '{}', fields)
    await expect(askControl(connection, { method: 'GET', path: '/v1/x' })).rejects.toMatchObject({
      code: 'NOT_PERMITTED',
      status: 403,
    })
  })
})

test('a field is read only when it occurs once', () => {
  const read = headerReader([
    ['a', '1'],
    ['b', '2'],
    ['b', '2'],
  ])
  expect([read('a'), read('b'), read('c')]).toEqual(['1', null, null])
})

describe('retrying', () => {
  test('ends with the first success', async () => {
    let tries = 0
    const attempt = () => {
      tries += 1
      if (tries < 2) return Promise.reject(new AgentError('FABRIC_UNREACHABLE'))
      return Promise.resolve(tries)
    }
    expect(await retrying(attempt, never)).toBe(2)
  })

  test('ends at once with a failure that does not pass', async () => {
    let tries = 0
    const attempt = () => {
      tries += 1
      return Promise.reject(new AgentError('ANSWER_MALFORMED'))
    }
    await expect(retrying(attempt, never)).rejects.toMatchObject({ code: 'ANSWER_MALFORMED' })
    expect(tries).toBe(1)
  })

  test('ends with the last failure once it has tried often enough, or was stopped', async () => {
    let tries = 0
    const attempt = () => {
      tries += 1
      return Promise.reject(new AgentError('FABRIC_UNREACHABLE', `try ${tries}`))
    }
    await expect(retrying(attempt, never, 2)).rejects.toThrow('try 2')
    await expect(retrying(attempt, AbortSignal.abort())).rejects.toThrow('try 3')
  })
})

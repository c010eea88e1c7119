import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { forwardedHeaders, type Head, readHead } from './head.ts'

const get = (url: string, rawHeaders: readonly string[] = []) =>
  readHead({ method: 'GET', url, rawHeaders, authority: 'a.test' })

const headOf = (answer: Head | Refusal): Head => {
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return answer
}

describe('readHead', () => {
  test.each([
    '/a/../b',
    '/a/./b',
    '/a//b',
    '//b',
    '/a/%2e%2e/b',
    '/a%2fb',
    '/a%5Cb',
    '/a\\b',
    '/a%00',
    '/a%0d%0a',
    '/a%252e',
    '/a%zz',
    '/ä',
    'http://other/a',
    '*',
    '/a#b',
    '/a/..;/b',
    '/a/..%3B/b',
    '/;a',
    '/a/..%20',
  ])('refuses the path %s, which two parsers could read differently', (url) => {
    expect(get(url)).toMatchObject({ code: 'MESSAGE_MALFORMED' })
  })

  test('a path that is let in is the very path that was sent', () => {
    const segment = fc.stringMatching(
      /^[A-Za-z0-9_~:@!$&'()*+,=-][A-Za-z0-9_~:@!$&'()*+,;=-]{0,11}$/,
    )
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1 }), (segments) => {
        const url = `/${segments.join('/')}?q=%2F..`
        expect(headOf(get(url)).path).toBe(url)
      }),
    )
  })

  test.each(['authorization', 'host', 'signature', 'content-length', 'mcp-method', 'x-api-key'])(
    'a repeated %s is refused, in any case',
    (name) => {
      const answer = get('/', [name, 'a', name.toUpperCase(), 'b'])
      expect(answer).toMatchObject({ code: 'MESSAGE_MALFORMED' })
    },
  )

  test.each([
    ['Mcp-Param-A-B', 'Mcp-Param-A_B'],
    ['mcp-param-a_b', 'MCP-PARAM-A-B'],
    ['Mcp-Param-A_B-C', 'Mcp-Param-A-B_C'],
  ])('%s and %s are one field to some receivers, and refused together', (one, other) => {
    expect(get('/', [one, 'a', other, 'b'])).toMatchObject({ code: 'MESSAGE_MALFORMED' })
    expect(forwardedHeaders(headOf(get('/', [one, 'a'])))).toHaveLength(1)
  })

  test('an authority with a different Host is refused', () => {
    expect(get('/', ['Host', 'b.test'])).toMatchObject({ code: 'MESSAGE_MALFORMED' })
  })

  test('a compressed body is refused, since it would pass uninspected', () => {
    const answer = get('/', ['Content-Encoding', 'gzip'])
    expect(answer).toMatchObject({ code: 'CONTENT_UNSUPPORTED' })
  })

  test.each(['CONNECT', 'TRACE', 'OPTIONS', 'get', ''])('the method %s is refused', (method) => {
    const answer = readHead({ method, url: '/', rawHeaders: [], authority: '' })
    expect(answer).toMatchObject({ code: 'OPERATION_UNKNOWN' })
  })

  test('identity that only the fabric may state never travels on', () => {
    const forged = [
      ...['Countersign-From', 'spiffe://x/agent/admin', 'X-Forwarded-For', '1.2.3.4'],
      ...['Client-Cert', ':AA==:', 'Authorization', 'Bearer x', 'X-Api-Key', 'k', 'Cookie', 'c'],
      ...['Connection', 'keep-alive', 'Accept', 'application/json'],
    ]
    expect(forwardedHeaders(headOf(get('/', forged)))).toEqual([['accept', 'application/json']])
  })
})

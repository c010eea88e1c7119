import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AgentError } from '../lib/fault.ts'
import { formatJoin, parseJoin } from './join.ts'

const fingerprint = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'

describe('a join string', () => {
  test('comes back from its one line', () => {
    const token = fc.stringMatching(/^[A-Za-z0-9_-]{8,80}$/)
    const root = fc.uint8Array({ minLength: 32, maxLength: 32 })
    fc.assert(
      fc.property(token, root, fc.integer({ min: 1, max: 65_535 }), (one, rootSha256, port) => {
        const url = new URL(`https://fabric.example:${port}`).origin
        const join = { url, token: one, rootSha256 }
        const parsed = parseJoin(`  ${formatJoin(join)}\n`)
        expect({ ...parsed, rootSha256: [...parsed.rootSha256] }).toEqual({
          ...join,
          rootSha256: [...rootSha256],
        })
      }),
    )
  })

  test.each([
    ['nothing', ''],
    ['plain HTTP', `http://f.example/#csj_token1.${fingerprint}`],
    ['a path', `https://f.example/x#csj_token1.${fingerprint}`],
    ['a query', `https://f.example/?a#csj_token1.${fingerprint}`],
    ['user information', `https://u:p@f.example/#csj_token1.${fingerprint}`],
    ['no token', `https://f.example/#.${fingerprint}`],
    ['no fingerprint', 'https://f.example/#csj_token1'],
    ['a short fingerprint', 'https://f.example/#csj_token1.AAEC'],
    ['a third part', `https://f.example/#csj_token1.${fingerprint}.x`],
    ['a token with a line break', `https://f.example/#csj_\ntoken1 x.${fingerprint}`],
  ])('with %s is refused', (_, text) => {
    expect(() => parseJoin(text)).toThrow(AgentError)
    expect(() => parseJoin(text)).toThrow(/^JOIN_MALFORMED/)
  })
})

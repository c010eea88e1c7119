import { expect, test } from 'vitest'
import { toBase64Url, utf8 } from './bytes.ts'
import { unverifiedClaims } from './token-claims.ts'

const part = (text: string): string => toBase64Url(utf8(text))
const claims = part('{"iss":"https://login.example.com","act":{"sub":"a"}}')

test('the claims of a token are returned, whatever signed it', () => {
  expect(unverifiedClaims(`${part('{}')}.${claims}.AAAA`)).toEqual({
    iss: 'https://login.example.com',
    act: { sub: 'a' },
  })
})

test.each([
  ['two parts', `${part('{}')}.${claims}`],
  ['four parts', `${part('{}')}.${claims}.AAAA.AAAA`],
  ['claims in another alphabet', `${part('{}')}.${claims}=.AAAA`],
  ['claims that are not JSON', `${part('{}')}.${part('{')}.AAAA`],
  ['claims that are not an object', `${part('{}')}.${part('null')}.AAAA`],
  ['no token', 'csk_abc'],
])('%s have none', (_, token) => {
  expect(unverifiedClaims(token)).toBeNull()
})

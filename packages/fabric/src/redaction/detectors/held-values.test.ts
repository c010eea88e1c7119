import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from '../scan/create-redactor.ts'

/* Objects below the name of a token, a cookie or a login hold secrets under names of their own. */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'application/json'): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const secret = 'Hunter2Xyz99AbCd7e'
const form = 'application/x-www-form-urlencoded'
const names = [
  ...['credentials', 'credential', 'authorization', 'tokens', 'token', 'jwt', 'auth', 'bearer'],
  ...['cookie', 'cookies', 'pass', 'pw', 'psk'],
]

describe.each(names)('below %s', (name) => {
  test.each([
    { [name]: { github: secret } },
    { [name]: { github: [secret] } },
    { [name]: [{ x: secret }] },
    { [name]: { a: { b: { c: secret } } } },
    { a: { [name]: { github: secret, type: 'x' } } },
    { text: JSON.stringify({ [name]: { github: secret } }) },
  ])('%j is masked', (body) => {
    const masked = mask(JSON.stringify(body))
    expect(masked).not.toContain(secret)
    expect(mask(masked)).toBe(masked)
  })

  test.each([
    `${name}[github]=${secret}`,
    `${name}[a][b]=${secret}&c=d`,
    `${name}.github=${secret}`,
  ])('the form %s is masked', (body) => {
    expect(mask(body, form)).not.toContain(secret)
  })
})

test.each([
  { credentials: { github: 'Hunter2Xyz99' } },
  { authorization: { basic: 'aB3kLm9Qx' } },
  { credentials: { session: '0f8fad5bd9cb469fa16570867728950e' } },
  { cookies: { sid: '0f8fad5bd9cb469fa16570867728950e' } },
])('%j is masked', (body) => {
  for (const value of Object.values(Object.values(body)[0] ?? {}))
    expect(mask(JSON.stringify(body))).not.toContain(value)
})

test.each([
  { tokens: { primary: '#1f2937ff', overlay: 'hsla(210,50%,40%,1)', radius: '0.25rem' } },
  { tokens: { font: 'Inter-Regular-400.woff2', ease: 'cubic-bezier(0.4,0,0.2,1)' } },
  { tokens: { prompt: 4096, completion: 128, model: 'small-model-2024' } },
  {
    auth: { type: 'oauth2', issuer: 'https://login2.example/tenant9', host: 'login2.example.org' },
  },
  { auth: { strategy: 'client-credentials-v2', audience: 'api2.internal.example' } },
  { credentials: { region: 'eu-central-1', profile: 'service-account-2', file: '/a/b2/c3' } },
  { cookies: { banner: 'accepted', theme: 'dark2', consentAt: '2026-03-04T05:06:07Z' } },
  { pass: { suite: 'a17b29c30d41e52f6', 'case 2': '12 of 13', commit: '0f8fad5bd9cb469fa165' } },
  { pin: { gpio: 'GPIO17AlternateFn5' } },
])('settings below such a name stay: %j', (body) => {
  expect(mask(JSON.stringify(body))).toBe(JSON.stringify(body))
})

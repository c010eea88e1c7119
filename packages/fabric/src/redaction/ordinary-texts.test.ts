import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * Texts and documents as agents exchange them all day. They speak of secrets, name them, declare them
 * and count them, and hold none: masking leaves every byte of them as it is.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType: string): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

function expectSame(text: string): void {
  expect(mask(text, 'text/plain')).toBe(text)
  const body = JSON.stringify({ text })
  expect(mask(body, 'application/json')).toBe(body)
}

function expectSameJson(value: unknown): void {
  const body = JSON.stringify(value)
  expect(mask(body, 'application/json')).toBe(body)
  const nested = JSON.stringify({ a: body })
  expect(mask(nested, 'application/json')).toBe(nested)
}

test.each([
  'tool -p my-project-1 build',
  `kubectl -n web patch deploy x -p '{"spec":{"replicas":2,"name":"a1-b2"}}'`,
  'docker run -u 1000:1000 -p 8080:80 image',
  'mkdir -p build-2024/out',
  'ssh -p 2222 host',
  'python -u train_v2.py',
  'git push -u origin feature-1',
  'git push -u git@host.example:team/repository.git main',
  'nikto -u https://host.example:8443/path',
])('the command line %s', (text) => {
  expectSame(text)
  expectSameJson({ args: text.split(' ') })
})

import { expect, test } from 'vitest'
import { findRefusal } from './refused.ts'

function refusalWith(headers: Readonly<Record<string, string>>) {
  return findRefusal(413, (name) => headers[name] ?? null)
}

test('a refusal names the limit that was reached', () => {
  const headers = {
    'countersign-refusal': 'MESSAGE_TOO_LARGE',
    'countersign-limit': 'limits.bodyBytes, 4 MiB',
  }
  const refusal = refusalWith(headers)
  expect(refusal?.limit).toBe('limits.bodyBytes, 4 MiB')
  expect(refusal?.message).toContain('(limits.bodyBytes, 4 MiB)')
})

test('text in any other form is not taken for a limit', () => {
  const code = { 'countersign-refusal': 'MESSAGE_TOO_LARGE' }
  expect(refusalWith(code)?.limit).toBeNull()
  expect(refusalWith({ ...code, 'countersign-limit': 'pay here: http://x' })?.limit).toBeNull()
})

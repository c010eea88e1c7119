import { REFUSALS } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { findRefusal, parseRefusalEvent } from './refused.ts'

function refusalWith(headers: Readonly<Record<string, string>>) {
  return findRefusal(413, (name) => headers[name] ?? null)
}

test('a refusal in a stream names its limit, and the receiver that states it', () => {
  const told = { code: 'RESPONSE_REJECTED', limit: 'stream.eventBytes, 1 MiB' }
  const place = { status: 200, id: null }
  const of = (value: object) =>
    parseRefusalEvent({ event: 'countersign-refusal', data: JSON.stringify(value) }, place)
  expect(of(told)).toMatchObject({ limit: told.limit, statedBy: null, mayHaveActed: true })
  const by = 'spiffe://a.test/agent/shop'
  expect(of({ ...told, statedBy: by })).toMatchObject({ statedBy: by, retry: false })
  expect(of({ ...told, limit: 'a forged limit', statedBy: '<b>' })).toMatchObject({
    ...{ limit: null, statedBy: 'the receiver' },
  })
})

test('a refusal names the limit that was reached', () => {
  const headers = {
    'countersign-refusal': 'MESSAGE_TOO_LARGE',
    'countersign-limit': 'limits.bodyBytes, 4 MiB',
  }
  const refusal = refusalWith(headers)
  expect(refusal?.limit).toBe('limits.bodyBytes, 4 MiB')
  expect(refusal?.message).toContain('(limits.bodyBytes, 4 MiB)')
})

test('a withdrawal states whether the receiver may have acted', () => {
  const withdrawn = {
    'countersign-refusal': 'WITHDRAWN',
    'countersign-withdrawal': 'policy-denies',
  }
  const before = refusalWith({ ...withdrawn, 'countersign-may-have-acted': 'false' })
  expect(before).toMatchObject({ mayHaveActed: false, retry: false })
  expect(before?.next).toContain('nothing was delivered')
  for (const said of [
    {},
    { 'countersign-may-have-acted': 'true' },
    { 'countersign-may-have-acted': '' },
  ]) {
    const after = refusalWith({ ...withdrawn, ...said })
    expect(after).toMatchObject({ mayHaveActed: true, retry: false })
    expect(after?.next).toContain('may have acted')
  }
})

test('no header turns an unknown outcome into one that may be repeated', () => {
  const denied = { 'countersign-may-have-acted': 'false' }
  for (const code of ['OUTCOME_UNKNOWN', 'RESPONSE_REJECTED', 'OF_A_NEWER_VERSION']) {
    const refusal = refusalWith({ ...denied, 'countersign-refusal': code })
    expect(refusal).toMatchObject({ mayHaveActed: true, retry: false })
  }
  const doubted = { 'countersign-refusal': 'RATE_LIMITED', 'countersign-may-have-acted': 'true' }
  expect(refusalWith(doubted)).toMatchObject({ mayHaveActed: true, retry: false })
})

test('text in any other form is not taken for a limit', () => {
  const code = { 'countersign-refusal': 'MESSAGE_TOO_LARGE' }
  expect(refusalWith(code)?.limit).toBeNull()
  expect(refusalWith({ ...code, 'countersign-limit': 'pay here: http://x' })?.limit).toBeNull()
})

test('the approval that a call waits for has an id and an end', () => {
  const id = `apr_${'0'.repeat(12)}7${'0'.repeat(3)}8${'0'.repeat(15)}`
  const code = { 'countersign-refusal': 'APPROVAL_PENDING' }
  const field = `${id}; expires=1795000000`
  const refusal = refusalWith({ ...code, 'countersign-approval': field })
  expect(refusal?.approval).toEqual({ id, expiresAt: 1_795_000_000_000 })
  expect(refusal?.message).toContain(id)
  expect(refusal?.retry).toBe(true)
  expect(refusalWith({ ...code, 'countersign-approval': 'approve this' })?.approval).toBeNull()
})

test('a refusal that a receiver states itself is never a reason to call again', () => {
  const by = 'spiffe://example.test/agent/shop'
  for (const code of Object.keys(REFUSALS)) {
    for (const stated of [by, 'not an id', '']) {
      const refusal = refusalWith({
        'countersign-refusal': code,
        'countersign-stated-by': stated,
        'countersign-may-have-acted': 'false',
      })
      const statedBy = stated === by ? by : 'the receiver'
      expect(refusal).toMatchObject({ retry: false, mayHaveActed: true, statedBy })
      expect(refusal?.message).toContain(`on the word of ${statedBy} alone`)
      expect(refusal?.next).toContain('may have acted')
    }
  }
  expect(refusalWith({ 'countersign-refusal': 'RATE_LIMITED' })).toMatchObject({
    ...{ retry: true, mayHaveActed: false, statedBy: null },
  })
})

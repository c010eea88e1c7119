import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import type { Finding } from '../redactor.ts'
import { createRedactor } from '../scan/create-redactor.ts'
import { CREDENTIAL_RULES } from './credentials.ts'

const ALPHABETS: Readonly<Record<string, string>> = {
  '': 'aB3dE5fG7hJ9kLmN2pQrS4tUvW6xYz8CbDcAeFg',
  U: 'ABCDEFGHJKLMNPQRSTUVWXYZ234567',
  h: '0123456789abcdef',
  d: '0123456789',
}

/** Expands `{36}` and its kin; the step makes neighbours differ without randomness. */
function expand(template: string): string {
  return template.replaceAll(/\{(\d+)([Uhd]?)\}/g, (_, count: string, kind: string) => {
    const alphabet = ALPHABETS[kind] ?? ''
    return Array.from({ length: Number(count) }, (_, i) =>
      alphabet.charAt((i * 7 + 3) % alphabet.length),
    ).join('')
  })
}

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(7) })

function findIn(text: string): readonly Finding[] {
  const body = new TextEncoder().encode(text)
  const answer = redactor.redact(body, 'text/plain', { mask: [], block: [] })
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return answer.findings.filter((finding) => finding.dataClass === 'credential')
}

describe.each(CREDENTIAL_RULES.map((rule) => [rule.id, rule] as const))('%s', (id, rule) => {
  test('brings at least two samples of either kind', () => {
    expect(rule.positives.length).toBeGreaterThanOrEqual(2)
    expect(rule.negatives.length).toBeGreaterThanOrEqual(2)
  })

  test.each(rule.positives)('is found in %s', (template) => {
    const detectors = findIn(expand(template)).map((finding) => finding.detector)
    expect(detectors).toContain(id)
    // In the middle of prose, and at the end of a line, it is the same credential.
    expect(findIn(`before ${expand(template)}\nafter`).map((f) => f.detector)).toContain(id)
  })

  test.each(rule.negatives)('is not found in %s', (template) => {
    expect(findIn(expand(template)).map((finding) => finding.detector)).not.toContain(id)
  })
})

test('no two rules share an id', () => {
  const ids = CREDENTIAL_RULES.map((rule) => rule.id)
  expect(new Set(ids).size).toBe(ids.length)
})

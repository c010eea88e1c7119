import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { buildVerifyPage } from '../../../../tools/build-pages.ts'

test('the verifier is one document that asks the network for nothing', async () => {
  const page = await buildVerifyPage()
  expect(page).not.toMatch(/<(?:link|img|iframe|object|embed|base)\b|\ssrc=|@import|url\(/i)
  const scripts = [...page.matchAll(/<script[^>]*>([^]*?)<\/script>/g)]
  expect(scripts).toHaveLength(1)
  const script = scripts[0]?.[1] ?? ''
  expect(script).not.toMatch(/\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon)\(/)
  expect(script).not.toMatch(/\bimport\b|\brequire\(|innerHTML|node:/)
  const style = /<style>([^]*?)<\/style>/.exec(page)?.[1] ?? ''
  for (const text of [script, style]) {
    const hash = createHash('sha256').update(text).digest('base64')
    expect(page).toContain(`'sha256-${hash}'`)
  }
  expect(page).toContain("default-src 'none'")
})

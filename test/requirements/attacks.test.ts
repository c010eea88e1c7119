import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ATTACKS } from '../requirements.ts'

const tested = readdirSync(new URL('../hostile', import.meta.url))
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => file.slice(0, -'.test.ts'.length))

describe('the catalogue of attacks', () => {
  test('holds no attack without a test', () => {
    expect([...ATTACKS].filter((name) => !tested.includes(name))).toEqual([])
  })

  test('is long enough to be worth its name', () => {
    expect(ATTACKS.size).toBeGreaterThanOrEqual(44)
  })
})

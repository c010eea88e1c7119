import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { LIES } from '../requirements.ts'

const told = readdirSync(new URL('../hostile', import.meta.url))
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => file.slice(0, -'.test.ts'.length))

describe('the catalogue of attacks', () => {
  test('holds no attack without a test', () => {
    expect([...LIES].filter((name) => !told.includes(name))).toEqual([])
  })

  test('is long enough to be worth its name', () => {
    expect(LIES.size).toBeGreaterThanOrEqual(44)
  })
})

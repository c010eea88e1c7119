import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { LIES } from '../requirements.ts'

/** Lies about TLS itself are told without a fabric, and have their own laboratory. */
const told = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.test.ts') && file !== 'catalogue.test.ts')
  .map((file) => file.slice(0, -'.test.ts'.length))

describe('the catalogue of lies', () => {
  test('every lie that a promise names is told', () => {
    expect([...LIES].filter((name) => !told.includes(name))).toEqual([])
  })

  test('every lie that is told is named by the promise that withstands it', () => {
    const unnamed = told.filter((name) => !name.startsWith('tls-') && !LIES.has(name))
    expect(unnamed).toEqual([])
  })

  test('is long enough to be worth its name', () => {
    expect(LIES.size).toBeGreaterThanOrEqual(44)
  })
})

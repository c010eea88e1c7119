import { expect, test } from 'vitest'
import type { Head } from '../reading/head.ts'
import { comesFromForeignPage } from './foreign-page.ts'

const head = (headers: Record<string, string>): Head => ({
  method: 'POST',
  path: '/',
  authority: 'fabric.example:8443',
  headers: new Map(Object.entries(headers)),
})

test.each([
  [{}],
  [{ origin: 'https://fabric.example:8443' }],
  [{ 'sec-fetch-site': 'same-origin' }],
  [{ 'sec-fetch-site': 'none' }],
])('a program, or a page of our own, is not a foreign page: %j', (headers) => {
  expect(comesFromForeignPage(head(headers))).toBe(false)
})

test.each([
  [{ origin: 'https://evil.example' }],
  [{ origin: 'http://fabric.example:8443' }],
  [{ origin: 'https://fabric.example' }],
  [{ origin: 'null' }],
  [{ 'sec-fetch-site': 'cross-site' }],
  [{ 'sec-fetch-site': 'same-site' }],
  [{ origin: 'https://fabric.example:8443', 'sec-fetch-site': 'cross-site' }],
])('a page from elsewhere is one: %j', (headers) => {
  expect(comesFromForeignPage(head(headers))).toBe(true)
})

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { policyFolder } from './policy-folder.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'policy-folder-'))
  for (const name of ['one', 'two']) mkdirSync(join(root, name))
})
afterEach(() => rmSync(root, { recursive: true }))

test('fabrics that share a policy folder take turns, wherever their data is', () => {
  const policyDir = join(root, 'policies')
  const one = policyFolder({ dataDir: join(root, 'one'), policyDir })
  const two = policyFolder({ dataDir: join(root, 'two'), policyDir })
  expect(one.marker).toBe(two.marker)
  const release = one.claim()
  expect(release).not.toBeNull()
  expect(two.claim()).toBeNull()
  release?.()
  const taken = two.claim()
  expect(taken).not.toBeNull()
  taken?.()
})

test('a folder in a place that takes no files has its marker in the data folder', () => {
  const place = join(root, 'read-only')
  writeFileSync(place, '')
  const dataDir = join(root, 'one')
  const { marker, claim } = policyFolder({ dataDir, policyDir: join(place, 'policies') })
  expect(marker).toBe(join(dataDir, 'policies.mirror.json'))
  const release = claim()
  expect(release).not.toBeNull()
  release?.()
})

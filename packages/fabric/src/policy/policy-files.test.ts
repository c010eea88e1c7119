import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { installDefaultPolicies, stagePolicyFile } from './policy-files.ts'

let root: string
let policyDir: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'policies-'))
  policyDir = join(root, 'policies')
})
afterEach(() => rm(root, { recursive: true, force: true }))

test('a new fabric gets every policy that it is shipped with', async () => {
  await installDefaultPolicies(policyDir)
  const shipped = await readdir(new URL('../../policies/', import.meta.url))
  expect(new Set(await readdir(policyDir))).toEqual(new Set(shipped))
  expect(await readdir(root)).toEqual(['policies'])
})

test('files that a crash in the middle of the installation left are not taken for policies', async () => {
  await installDefaultPolicies(`${policyDir}.new`)
  await rm(join(`${policyDir}.new`, '10-operators.cedar'))
  await writeFile(join(`${policyDir}.new`, '20-agents.cedar'), 'permit(')
  await installDefaultPolicies(policyDir)
  expect(await readFile(join(policyDir, '20-agents.cedar'), 'utf8')).toContain('agents-discover')
  expect(await readdir(policyDir)).toContain('10-operators.cedar')
})

test('a folder that the operator has emptied stays empty', async () => {
  await installDefaultPolicies(policyDir)
  for (const name of await readdir(policyDir)) await rm(join(policyDir, name))
  await installDefaultPolicies(policyDir)
  expect(await readdir(policyDir)).toEqual([])
})

test('a policy file is replaced when it is committed, and leaves nothing beside it', async () => {
  const stage = (effect: string) =>
    stagePolicyFile(policyDir, {
      name: 'own.cedar',
      text: `${effect}(principal, action, resource);`,
    })
  await (await stage('forbid')).commit()
  const staged = await stage('permit')
  expect(await readFile(join(policyDir, 'own.cedar'), 'utf8')).toContain('forbid')
  await staged.commit()
  await staged.discard()
  expect(await readdir(policyDir)).toEqual(['own.cedar'])
  expect(await readFile(join(policyDir, 'own.cedar'), 'utf8')).toContain('permit')
})

test('a policy file that is discarded was never there', async () => {
  const staged = await stagePolicyFile(policyDir, { name: 'own.cedar', text: 'permit' })
  await staged.discard()
  expect(await readdir(policyDir)).toEqual([])
})

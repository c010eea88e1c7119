import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

function countersign(args: readonly string[]) {
  const main = join(import.meta.dirname, 'main.ts')
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=countersign-source', main, ...args],
    { encoding: 'utf8', cwd: tmpdir(), env: { PATH, NODE_COMPILE_CACHE } },
  )
  return { status, stdout, stderr }
}

test('the process answers on stdout and ends with 0', () => {
  const { status, stdout, stderr } = countersign(['--version'])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

test('the process complains on stderr and ends with the code of the failure', () => {
  const { status, stdout, stderr } = countersign(['protet'])
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toContain('next:')
})

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test, vi } from 'vitest'
import { agentRecord } from '../../../../../test/contracts/directory.ts'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { openOtherProcess } from '../../../../../test/harness/state-process.ts'

const folder = mkdtempSync(join(tmpdir(), 'countersign-processes-'))
afterAll(() => rmSync(folder, { recursive: true }))

const program = new URL('../../../../../test/harness/state-process.ts', import.meta.url).pathname

async function run(...args: readonly string[]): Promise<string> {
  const words = ['--conditions=countersign-source', program, ...args]
  return (await promisify(execFile)(process.execPath, words)).stdout.trim()
}

test('processes that write at once lose nothing, and a third one sees each change once, in order', async () => {
  const path = join(folder, 'state.db')
  const { stream, directory, apiKeys } = await openOtherProcess(path)
  await directory.update('alice', () => agentRecord('alice', { roles: [] }))
  const { key } = await apiKeys.create({ owner: 'alice', scopes: null })
  const counts: number[] = []
  directory.onChange(({ roles }) => counts.push(roles.length))
  const removed = vi.fn<() => void>()
  apiKeys.onRemove(removed)
  const answers = await Promise.all([
    run(path, 'alice', 'a', '10', key.id),
    run(path, 'alice', 'b', '10', key.id),
  ])
  expect(answers.toSorted()).toEqual(['false', 'true'])
  await vi.waitFor(() => expect(removed).toHaveBeenCalledOnce(), deadline)
  await vi.waitFor(() => expect(counts).toHaveLength(20), deadline)
  expect(counts).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  expect(new Set(directory.find('alice')?.roles).size).toBe(20)
  expect(apiKeys.stands(key.id)).toBe(false)
  // A record that others have changed can be changed here.
  const quarantined = { status: 'quarantined', statusReason: 'odd' } as const
  const next = await directory.update(
    'alice',
    (present) => present && { ...present, ...quarantined },
  )
  expect(next?.roles).toHaveLength(20)
  await stream.close()
})

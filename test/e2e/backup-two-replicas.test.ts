import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseBackup } from '../../packages/fabric/src/backup/backup-document.ts'
import {
  DATA_FOLDER_KINDS,
  kindOf,
  LOG_FOLDER_KINDS,
  SLOT_FOLDER_KINDS,
} from '../../packages/fabric/src/backup/folder-kinds.ts'
import { send } from '../harness/doors.ts'
import { openReplicas, type Replicas } from '../harness/replicas.ts'

let replicas: Replicas

beforeAll(async () => {
  replicas = await openReplicas({ folders: ['data', 'data'] })
})
afterAll(() => replicas.close())

const folder = () => join(replicas.dir, 'copy')
const document = () => parseBackup(readFileSync(join(folder(), 'backup.json'), 'utf8'))

async function backUp(...words: readonly string[]) {
  const { exit, text } = await replicas.command(0, 'backup', folder(), '--json', ...words)
  expect(exit, text).toBe(0)
  return JSON.parse(text) as { readonly copied: number; readonly kept: number }
}

async function call(count: number): Promise<void> {
  for (let made = 0; made < count; made++) {
    for (const { door } of [replicas.one, replicas.two]) {
      expect((await send(door, { to: 'echo' })).status).toBe(200)
    }
  }
}

test('the logs of both replicas are in one backup, and the next one copies what is new', async () => {
  await call(150)
  const first = await backUp()
  expect(first.kept).toBe(0)
  expect(document().logs.map(({ slot }) => slot)).toEqual(['a', 'b'])
  const sizes = document().logs.map(({ size }) => size)
  expect(Math.min(...sizes)).toBeGreaterThan(256)
  await call(1)
  const second = await backUp()
  expect(second.kept).toBeGreaterThanOrEqual(2 * 3)
  expect(second.copied).toBeLessThan(first.copied)
  expect(
    Math.min(...document().logs.map(({ size }, at) => size - (sizes[at] ?? 0))),
  ).toBeGreaterThan(0)
  // Nothing of the backup before is left, except what both have.
  const { id } = document()
  expect(readdirSync(join(folder(), 'log')).toSorted()).toEqual([id, 'ledger'].toSorted())
  expect(readdirSync(join(folder(), 'keys'))).toEqual([id])
  await backUp('--check')
})

test('every file of a data folder is of a kind that a backup knows', () => {
  const data = join(replicas.dir, 'data')
  const unknown = (kinds: typeof DATA_FOLDER_KINDS, at: string) =>
    readdirSync(at).filter((name) => kindOf(kinds, name) === null)
  expect(unknown(DATA_FOLDER_KINDS, data)).toEqual([])
  for (const slot of ['a', 'b']) {
    expect(unknown(SLOT_FOLDER_KINDS, join(data, 'ledger', slot))).toEqual([])
    expect(unknown(LOG_FOLDER_KINDS, join(data, 'ledger', slot, 'log'))).toEqual([])
  }
})

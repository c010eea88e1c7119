import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openFabric } from '../../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { crc32c } from '../../packages/fabric/src/lib/crc32c.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-earlier-'))
const text = JSON.stringify({ masterKey: { from: 'key-file', path: join(dir, 'master.key') } })

const open = (name: string) =>
  openFabric({
    config: parseConfig({ path: 'test', text }, readEnvironment(), {
      dataDir: join(dir, name),
      port: 0,
    }),
    clock: systemClock,
    random: systemRandom,
    log: () => undefined,
    onFatal: (reason, cause) => {
      throw new Error(reason, { cause })
    },
  })

beforeAll(async () => {
  await (await open('now')).close(0)
})

afterAll(() => rmSync(dir, { recursive: true, force: true }))

function lowerVersion(path: string): void {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 1')
  database.close()
}

/** Both copies of the head as a format wrote them: another magic number under the same checksum. */
const lowerHead = (magic: string) => (path: string) => {
  const bytes = readFileSync(path)
  for (const start of [0, 4096]) {
    bytes.write(magic, start, 'latin1')
    bytes.writeUInt32BE(crc32c(bytes.subarray(start, start + 4092)), start + 4092)
  }
  writeFileSync(path, bytes)
}

const remedy = (format: number) =>
  `has format ${format}, and this version uses format 4: start with a new folder (--data), ` +
  'and keep this one for the version that wrote it'

test.for([
  ['state.db', 'the state file', 1, lowerVersion],
  ['ledger/a/head', 'the ledger', 1, lowerHead('CSHD')],
  ['ledger/a/head', 'the ledger', 3, lowerHead('CSH3')],
  ['channels/channel-records.sqlite', 'the record of channels', 1, lowerVersion],
  ['channels/channels.sqlite', 'the channel store', 1, lowerVersion],
] as const)(
  'a folder whose %s is of an earlier format does not start [operate:one-format]',
  async ([file, what, format, lower]) => {
    const name = `${file.replaceAll('/', '-')}-${format}`
    cpSync(join(dir, 'now'), join(dir, name), { recursive: true })
    const path = join(dir, name, file)
    lower(path)
    const before = readFileSync(path)
    await expect(open(name)).rejects.toThrow(`${what} ${remedy(format)}`)
    expect(readFileSync(path)).toEqual(before)
  },
)

test('a folder of this format starts again', async () => {
  await (await open('now')).close(0)
})

import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { type BackupDocument, formatBackup, parseBackup } from './backup-document.ts'

const document: BackupDocument = {
  v: 1,
  id: '20261128T110000Z-0123abcd',
  at: 1_700_000_000_000,
  trustFingerprint: 'SHA256:x',
  state: 'sqlite',
  logs: [{ slot: 'a', origin: 'b.test/ledger/a', size: 7, root: 'r', headAt: 1 }],
  files: [{ path: 'keys/20261128T110000Z-0123abcd/x', bytes: 1, sha256: '0'.repeat(64) }],
}

/** As an attacker writes it, who can compute sums. */
function forged(change: object): string {
  const text = JSON.stringify({ ...document, ...change })
  const sha256 = createHash('sha256').update(text).digest('hex')
  return `${JSON.stringify({ ...JSON.parse(text), sha256 })}\n`
}

test('a document is read as it was written, whatever the order of its members', () => {
  expect(parseBackup(formatBackup(document))).toEqual(document)
  const { files, ...rest } = document
  expect(formatBackup({ files, ...rest })).toBe(formatBackup(document))
  expect(forged({})).toBe(formatBackup(document))
})

test('no changed character is accepted', () => {
  const text = formatBackup(document)
  for (let at = 0; at < text.length; at++) {
    const other = text[at] === '1' ? '2' : '1'
    const changed = `${text.slice(0, at)}${other}${text.slice(at + 1)}`
    expect(() => parseBackup(changed), changed).toThrow('backup.json')
    expect(() => parseBackup(text.slice(0, at))).toThrow('backup.json')
  }
})

test.each(['../x', 'log/../../x', '/etc/x', 'log//x', './x', ''])(
  'the path %j is refused',
  (path) => {
    const files = [{ ...document.files[0], path }]
    expect(() => parseBackup(forged({ files }))).toThrow('cannot be read')
  },
)

test.each([
  { id: '../20261128T110000Z' },
  { logs: [{ ...document.logs[0], slot: '..' }] },
  { logs: [] },
  { v: 2 },
  { more: 1 },
])('%j is refused', (change) => {
  expect(() => parseBackup(forged(change))).toThrow('cannot be read')
})

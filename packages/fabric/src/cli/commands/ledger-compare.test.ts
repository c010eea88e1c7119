import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { RequestListener, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  formatNote,
  formatTrust,
  parseNote,
  parseReceipt,
  parseTlogProof,
  slotCertificate,
} from '@countersign/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTlsAuthority, type TlsAuthority } from '../../../../../test/harness/tls-authority.ts'
import vector from '../../../../protocol/vectors/receipt.json' with { type: 'json' }
import { CheckpointKey, rawPublicKey } from '../../ledger/checkpoint.ts'
import { leafHash } from '../../ledger/hash.ts'
import { levelWidth, tilePath, tileWidth } from '../../ledger/tiles.ts'
import { Tree } from '../../ledger/tree.ts'
import { findLogSource } from '../log-source.ts'
import { run } from '../run.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-compare-'))
const servers: Server[] = []
afterAll(() => {
  for (const server of servers) server.close().closeAllConnections()
  rmSync(dir, { recursive: true, force: true })
})

async function countersign(...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const screen = (to: 'stdout' | 'stderr') => ({
    write: (text: string | Uint8Array) => {
      written[to] += String(text)
    },
  })
  const status = await run(args, { stdout: screen('stdout'), stderr: screen('stderr') })
  return { status, ...written }
}

let files = 0
function fileOf(content: string | Uint8Array): string {
  files += 1
  const path = join(dir, `file-${files}`)
  writeFileSync(path, content)
  return path
}

const newKey = (): KeyObject => generateKeyPairSync('ed25519').privateKey
const origin = 'acme.test/ledger/a'
const logKey = newKey()
const slotKey = newKey()
const checkpoints = new CheckpointKey(origin, logKey)
const otherCheckpoints = new CheckpointKey('acme.test/ledger/b', newKey())

/** A log of the trust, certified by the key that is pinned, or by another. */
function slotOf(slot: string, { vkey }: CheckpointKey, certifier: KeyObject) {
  const log = { slot, origin: `acme.test/ledger/${slot}`, vkey }
  const certificate = slotCertificate('acme.test', log)
  return { ...log, signature: new Uint8Array(sign(null, certificate, certifier)) }
}

function trustOf(certifier: KeyObject): string {
  return fileOf(
    formatTrust({
      ...{ trustDomain: 'acme.test', fabricKey: rawPublicKey(newKey()) },
      slotKey: rawPublicKey(slotKey),
      slots: [slotOf('a', checkpoints, certifier), slotOf('b', otherCheckpoints, slotKey)],
    }),
  )
}

const trust = trustOf(slotKey)

/** A log whose history is another one from entry `forkedAt` on. */
function logOf(
  size: number,
  forkedAt = Infinity,
): { readonly note: string; readonly folder: string } {
  const tree = new Tree(() => Promise.reject(new Error('nothing to read')))
  for (let i = 0; i < size; i++) {
    tree.append(leafHash(Buffer.from(i >= forkedAt ? `other ${i}` : `entry ${i}`)))
  }
  const note = checkpoints.signCheckpoint(size, tree.root())
  files += 1
  const folder = join(dir, `log-${files}`)
  const write = (path: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  write('checkpoint', note)
  for (let level = 0; levelWidth(level, size) > 0; level++) {
    const hashes = levelWidth(level, size)
    for (let first = 0; first < hashes; first += tileWidth) {
      const width = Math.min(tileWidth, hashes - first)
      const tile = first / tileWidth
      write(tilePath(level, tile, width), tree.unpublishedTile(level, tile, width))
    }
  }
  return { note, folder }
}

const older = logOf(300)
const newer = logOf(700)
const kept = fileOf(older.note)
const compare = (...args: readonly string[]) =>
  countersign('ledger', 'compare', ...args, '--trust', trust)

describe('against a folder of tiles', () => {
  test('a log that grew is consistent, and one that did not is the same', async () => {
    const grown = await compare(kept, newer.folder)
    expect(grown).toMatchObject({ status: 0, stdout: expect.stringContaining('from 300 to 700') })
    const asJson = await compare(kept, newer.folder, '--json')
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      ...{ ok: true, relation: 'grown', origin },
      older: { size: 300, note: older.note },
      newer: { size: 700, note: newer.note },
    })
    const same = await compare(kept, older.folder)
    expect(same).toMatchObject({ status: 0, stdout: expect.stringContaining('same') })
  })

  test('two kept files are compared with the tiles of a log', async () => {
    const file = fileOf(newer.note)
    expect(await compare(kept, file, '--tiles', newer.folder)).toMatchObject({ status: 0 })
    const without = await compare(kept, file)
    expect(without).toMatchObject({ status: 2, stdout: '' })
    expect(without.stderr).toContain('--tiles')
  })

  test('a log that was rolled back ends with 1', async () => {
    const { status, stdout } = await compare(fileOf(newer.note), older.folder)
    expect(status).toBe(1)
    expect(stdout).toContain('rolled back')
  })

  test.each([
    ['at the same size', 300, 299],
    ['at the same size, from its start', 300, 0],
    ['later, in an entry that was shown', 700, 299],
    ['much later', 700, 10],
  ])('a log that was forked %s ends with 1', async (_, size, forkedAt) => {
    const { status, stdout } = await compare(kept, logOf(size, forkedAt).folder)
    expect(status).toBe(1)
    expect(stdout).toContain('NOT consistent')
    const asJson = await compare(kept, logOf(size, forkedAt).folder, '--json')
    expect(JSON.parse(asJson.stdout)).toMatchObject({ ok: false, relation: 'forked' })
  })

  test('a log with another end, after all that was shown, is consistent', async () => {
    expect(await compare(kept, logOf(700, 300).folder)).toMatchObject({ status: 0 })
  })

  test('a tile that was changed, cut or lengthened decides nothing', async () => {
    for (const change of [
      (tile: Buffer) => tile.with(40, (tile[40] ?? 0) ^ 1),
      (tile: Buffer) => tile.subarray(0, -32),
      (tile: Buffer) => Buffer.concat([tile, Buffer.alloc(32)]),
    ]) {
      const { folder } = logOf(700)
      const path = join(folder, 'tile/0/001')
      writeFileSync(path, change(readFileSync(path)))
      const { status, stdout } = await compare(kept, folder)
      expect(status).not.toBe(0)
      expect(stdout).toBe('')
    }
  })

  test('a tile that is missing is named, unless the full one took its place', async () => {
    const { folder } = logOf(700)
    const partial = join(folder, 'tile/0/002.p/188')
    const full = Buffer.concat([readFileSync(partial), Buffer.alloc(68 * 32, 7)])
    rmSync(partial)
    const missing = await compare(kept, folder)
    expect(missing).toMatchObject({ status: 2, stdout: '' })
    expect(missing.stderr).toContain('002')
    writeFileSync(join(folder, 'tile/0/002'), full)
    expect(await compare(kept, folder)).toMatchObject({ status: 0 })
  })
})

describe('a checkpoint is not accepted', () => {
  const lines = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      ...{ name: `witness-${i}`, keyId: Uint8Array.of(1, 2, 3, i) },
      signature: new Uint8Array(72),
    }))
  const { text, signatures } = parseNote(older.note)
  const [own] = signatures
  if (own === undefined) throw new Error('the log signs its checkpoints')
  const forged = own.signature.with(5, (own.signature[5] ?? 0) ^ 1)

  test.each([
    ['with a bad signature of the pinned key', formatNote(text, [{ ...own, signature: forged }])],
    ['signed by other keys alone', formatNote(text, lines(3))],
    ['with more than 16 signatures', formatNote(text, [own, ...lines(16)])],
    ['that is huge', `${older.note}${'x'.repeat(70_000)}`],
    [
      'of another origin',
      new CheckpointKey('acme.test/ledger/b', logKey).signCheckpoint(300, Buffer.alloc(32)),
    ],
    ['of a size beyond 2^53', older.note.replace('\n300\n', '\n9007199254740993\n')],
    ['that is empty', ''],
    ['that is a receipt of no kind', '{}'],
  ])('%s', async (_, note) => {
    for (const [one, other] of [
      [fileOf(note), newer.folder],
      [kept, fileOf(note)],
    ] as const) {
      const { status, stdout, stderr } = await compare(one, other)
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(stderr).toMatch(/is not accepted|does not verify/)
    }
  })

  test('of another log of the fabric, or of a log that the fabric does not certify', async () => {
    const other = fileOf(otherCheckpoints.signCheckpoint(300, Buffer.alloc(32)))
    const uncertified = await countersign(
      ...['ledger', 'compare', kept, kept, '--trust', trustOf(newKey())],
    )
    for (const { status, stdout, stderr } of [await compare(kept, other), uncertified]) {
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(stderr).toContain('does not certify, or of another log')
    }
  })

  test('but lines of witnesses do no harm', async () => {
    const cosigned = fileOf(formatNote(text, [...lines(8), own]))
    expect(await compare(cosigned, newer.folder)).toMatchObject({ status: 0 })
  })
})

test('a receipt stands for its checkpoint, once it verifies', async () => {
  const bytes = Buffer.from(vector.receipt, 'base64')
  const options = ['--trust', fileOf(vector.trust), '--json']
  const same = await countersign('ledger', 'compare', fileOf(bytes), fileOf(bytes), ...options)
  expect(same.status).toBe(0)
  expect(JSON.parse(same.stdout)).toMatchObject({ ok: true, relation: 'same' })
  const text = String(bytes)
  expect(text).toContain('"delivered"')
  const altered = fileOf(text.replace('"delivered"', '"deliverer"'))
  const refused = await countersign('ledger', 'compare', altered, fileOf(bytes), ...options)
  expect(refused).toMatchObject({ status: 1, stdout: '' })
})

test('verify states whether the published checkpoint has the receipt', async () => {
  const bytes = Buffer.from(vector.receipt, 'base64')
  const [entry] = parseReceipt(bytes).entries
  const { checkpoint } = parseTlogProof(entry?.proof ?? '')
  const log = join(dir, 'log-of-receipt')
  mkdirSync(log)
  writeFileSync(join(log, 'checkpoint'), checkpoint)
  const options = ['--trust', fileOf(vector.trust), '--log', log]
  const found = await countersign('verify', fileOf(bytes), ...options)
  expect(found.status).toBe(0)
  expect(found.stdout).toContain('the published checkpoint is that of the receipt')
  const json = await countersign('verify', fileOf(bytes), ...options, '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({
    ok: true,
    published: { relation: 'same', size: 4 },
    receipt: { level: 'published' },
  })
  // A checkpoint of another size that the log did not sign is not a published one.
  writeFileSync(join(log, 'checkpoint'), checkpoint.replace('\n4\n', '\n3\n'))
  const unsigned = await countersign('verify', fileOf(bytes), ...options)
  expect(unsigned).toMatchObject({ status: 1, stdout: '' })
  const none = await countersign('verify', fileOf(bytes), '--trust', fileOf(vector.trust))
  expect(none.stdout).toContain('as the receipt states without proof')
})

describe('against an address', () => {
  let authority: TlsAuthority
  beforeAll(async () => {
    authority = await openTlsAuthority()
  })

  /** An address of a log, and the file of the root that its server is verified by. */
  async function serve(listener: RequestListener): Promise<readonly string[]> {
    const { keyPem, certPem } = await authority.issue({ dnsNames: ['localhost'], ipAddresses: [] })
    const server = createServer({ key: keyPem, cert: certPem, minVersion: 'TLSv1.3' }, listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return [`https://localhost:${port}/log`, '--ca', fileOf(authority.caPem)]
  }

  const fileAt = (folder: string, url = '') => readFileSync(join(folder, url.slice('/log/'.length)))

  test('a log that grew is consistent, and its server is verified', async () => {
    const at = await serve(({ url }, response) => response.end(fileAt(newer.folder, url)))
    expect(await compare(kept, ...at)).toMatchObject({ status: 0 })
    const [address = ''] = at
    const unverified = await compare(kept, address)
    expect(unverified).toMatchObject({ status: 3, stdout: '' })
  })

  test.each([
    ['an endless checkpoint', 'checkpoint', 1],
    ['an endless tile', 'tile/1/000.p/2', 1],
  ])('%s is not read to its end', async (_, path, status) => {
    const at = await serve(({ url }, response) => {
      if (url !== `/log/${path}`) response.end(fileAt(newer.folder, url))
      else {
        const more = () => {
          while (response.write(Buffer.alloc(16_384, 65)));
        }
        response.on('drain', more)
        more()
      }
    })
    const compared = await compare(kept, ...at)
    expect(compared).toMatchObject({ status, stdout: '' })
    expect(compared.stderr).toContain('is longer than')
  })

  test('a redirect is not followed, and a missing tile is named', async () => {
    let asked = 0
    const moved = await serve((_, response) => {
      asked += 1
      response.writeHead(307, { location: 'https://localhost:1/log/checkpoint' }).end()
    })
    expect(await compare(kept, ...moved)).toMatchObject({
      ...{ status: 3, stdout: '' },
      stderr: expect.stringContaining('redirects'),
    })
    expect(asked).toBe(1)
    const gone = await serve(({ url }, response) => {
      if (url === '/log/checkpoint') response.end(newer.note)
      else response.writeHead(404).end()
    })
    expect(await compare(kept, ...gone)).toMatchObject({
      ...{ status: 3, stdout: '' },
      stderr: expect.stringMatching(/tile\/0\/002\.p\/188: status 404/),
    })
  })

  test('a server that does not answer, or not to the end, is left after a while', async () => {
    for (const listener of [
      () => undefined,
      (_: unknown, response: ServerResponse) => void response.writeHead(200).write('acme'),
    ]) {
      const [address = ''] = await serve(listener)
      const source = findLogSource(address, () => Buffer.from(authority.caPem), 200)
      await expect(source?.readCheckpoint()).rejects.toThrow('no whole answer within 0.2 s')
    }
  })

  test.each(['http://localhost/log/', 'https://a:b@localhost/log/', 'https://localhost/log/?x'])(
    '%s is not the address of a log',
    async (address) => {
      expect(await compare(kept, address)).toMatchObject({ status: 2, stdout: '' })
    },
  )
})

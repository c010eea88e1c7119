import { chmod, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join as joinPath, resolve } from 'node:path'
import { toHex } from '@countersign/protocol'
import { AgentError } from '../lib/fault.ts'
import { systemRandom } from '../lib/random.ts'
import type { KeyTexts } from './keys.ts'

/**
 * The data that an agent keeps between runs. `granted` is null between making the keys and the
 * enrolment.
 */
export interface StoredIdentity {
  readonly v: 1
  /** Origin of the fabric. */
  readonly url: string
  /** The trust document as it was fetched over the pinned connection. */
  readonly trust: unknown
  /** Private keys, PKCS#8 PEM. */
  readonly keys: KeyTexts
  /** The last grant of an enrolment or renewal, as it came. */
  readonly granted: unknown
}

const fileName = 'agent.json'
const fileBytesMax = 1024 * 1024

/** The stored identity, or null where there is none. Throws IDENTITY_DAMAGED for anything else. */
export async function findIdentity(dir: string): Promise<StoredIdentity | null> {
  const path = joinPath(dir, fileName)
  const found = await stat(path).catch(absent)
  if (found === null) return null
  // Windows keeps no such bits; everywhere else a readable key is a shared key.
  if (process.platform !== 'win32' && (found.mode & 0o077) !== 0) {
    throw new AgentError('IDENTITY_DAMAGED', 'other users can read it; its keys must be replaced')
  }
  if (found.size > fileBytesMax) throw new AgentError('IDENTITY_DAMAGED', 'it is too large')
  try {
    return parseStored(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    if (cause instanceof AgentError) throw cause
    throw new AgentError('IDENTITY_DAMAGED', '', { cause })
  }
}

/**
 * Durable when it resolves. A crash before the rename leaves the identity from before, one after it
 * leaves the new one: never a mixture.
 */
export async function saveIdentity(dir: string, identity: StoredIdentity): Promise<void> {
  await makeFolder(dir)
  await chmod(dir, 0o700)
  const path = joinPath(dir, fileName)
  const beside = `${path}.${toHex(systemRandom(8))}`
  try {
    const file = await open(beside, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify(identity, null, 2)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, path)
  } catch (error) {
    await unlink(beside).catch(() => undefined)
    throw error
  }
  await syncDirectory(dir)
}

/**
 * Each folder is tried once. `recursive` of Node tries for ever where a file system reports a new
 * name as missing, as that of `/proc` does.
 */
async function makeFolder(dir: string): Promise<void> {
  const missing: string[] = []
  for (let at = resolve(dir); (await stat(at).catch(absent)) === null; at = dirname(at)) {
    missing.push(at)
  }
  for (const each of missing.reverse()) {
    await mkdir(each, { mode: 0o700 }).catch(async (error: NodeJS.ErrnoException) => {
      // Of two that make it at the same time, both have it.
      if (error.code !== 'EEXIST' || !(await stat(each)).isDirectory()) throw error
    })
  }
}

async function syncDirectory(dir: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function parseStored(value: unknown): StoredIdentity {
  const stored = recordOf(value)
  const keys = recordOf(stored['keys'])
  const { url, trust, granted } = stored as { url?: unknown; trust?: unknown; granted?: unknown }
  if (stored['v'] !== 1 || typeof url !== 'string') throw new AgentError('IDENTITY_DAMAGED')
  return {
    v: 1,
    url,
    trust,
    keys: {
      tls: textOf(keys, 'tls'),
      signing: textOf(keys, 'signing'),
      sealing: textOf(keys, 'sealing'),
    },
    granted: granted ?? null,
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>
  }
  throw new AgentError('IDENTITY_DAMAGED', 'an object is missing')
}

function textOf(record: Readonly<Record<string, unknown>>, member: string): string {
  const value = record[member]
  if (typeof value === 'string') return value
  throw new AgentError('IDENTITY_DAMAGED', `${member} is missing`)
}

function absent(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}

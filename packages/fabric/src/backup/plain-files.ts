import { createHash } from 'node:crypto'
import { type Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type DurableFile, systemFiles } from '../lib/durable-file.ts'
import { makeFolder, UnusableFile } from '../lib/named-path.ts'
import type { CopiedFile } from './backup-document.ts'

/** Bounds the memory of a copy. */
const chunkBytes = 1024 * 1024

/** The bytes and the sum of a file; null where there is none. */
export type FileSum = Omit<CopiedFile, 'path'>

/**
 * Copies one file as long as it is now, for this user alone, and syncs it; the folder is made. Null
 * where `from` does not exist. Without `to`, it only reads. A file that is longer than `bytesMax`
 * is read no further, and has another sum.
 */
export async function copyFile(
  from: string,
  to: string | null,
  bytesMax = Number.POSITIVE_INFINITY,
): Promise<FileSum | null> {
  const source = await systemFiles.open(from, 'read')
  if (source === null) return null
  let target: DurableFile | null = null
  try {
    if (to !== null) {
      makeFolder(dirname(to))
      target = await systemFiles.open(to, 'create')
    }
    const size = Math.min(await source.size(), bytesMax + 1)
    const sum = createHash('sha256')
    let bytes = 0
    while (bytes < size) {
      const chunk = await source.read(bytes, Math.min(chunkBytes, size - bytes))
      if (chunk.length === 0) break
      sum.update(chunk)
      await target?.write(bytes, chunk)
      bytes += chunk.length
    }
    await target?.sync()
    return { bytes, sha256: sum.digest('hex') }
  } finally {
    await source.close()
    await target?.close()
  }
}

export function sumFile(path: string): Promise<FileSum | null> {
  return copyFile(path, null)
}

/** Reads a file whole; null unless it is what was copied. */
export async function readCopied(path: string, copied: FileSum): Promise<Uint8Array | null> {
  const file = await systemFiles.open(path, 'read')
  if (file === null) return null
  try {
    if ((await file.size()) !== copied.bytes) return null
    const bytes = await file.read(0, copied.bytes)
    return createHash('sha256').update(bytes).digest('hex') === copied.sha256 ? bytes : null
  } finally {
    await file.close()
  }
}

/** Writes a new file, and syncs it. */
export async function writeSynced(path: string, bytes: Uint8Array): Promise<FileSum> {
  makeFolder(dirname(path))
  const file = await systemFiles.open(path, 'create')
  try {
    await file.write(0, bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** On resolve, the file is the old one or the new one, after any crash. */
export async function replaceSynced(path: string, bytes: Uint8Array): Promise<void> {
  await writeSynced(`${path}.new`, bytes)
  await systemFiles.rename(`${path}.new`, path)
  await systemFiles.syncDirectory(dirname(path))
}

/** Folders within folders that a walk enters; a fabric makes four. */
const depthMax = 16

/**
 * Every file at a path or below it, relative to it; empty where there is none. Rejects with
 * UnusableFile for a link or a special file: a backup without it would look whole.
 */
export async function filesBelow(root: string, depth = 0): Promise<readonly string[]> {
  if (depth > depthMax) throw new Error(`${root} is too deep`)
  const found: string[] = []
  for (const each of await entriesOf(root)) {
    if (each.isFile()) found.push(each.name)
    else if (!each.isDirectory()) {
      const what = `${join(root, each.name)} is a link or a special file, and not a file`
      throw new UnusableFile(what, 'put the file itself in its place')
    }
    if (!each.isDirectory()) continue
    for (const below of await filesBelow(join(root, each.name), depth + 1)) {
      found.push(`${each.name}/${below}`)
    }
  }
  return found.toSorted()
}

/** Makes the names durable of everything in a folder and below it. */
export async function syncFolders(root: string, depth = 0): Promise<void> {
  if (depth > depthMax) throw new Error(`${root} is too deep`)
  for (const each of await entriesOf(root)) {
    if (each.isDirectory()) await syncFolders(join(root, each.name), depth + 1)
  }
  await systemFiles.syncDirectory(root)
}

async function entriesOf(folder: string): Promise<readonly Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (isAbsence(error)) return []
    throw error
  })
}

function isAbsence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

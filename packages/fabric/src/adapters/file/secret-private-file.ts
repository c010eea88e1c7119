import { constants } from 'node:fs'
import { link, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { UnusableFile } from '../../lib/named-path.ts'

/** A key file that must not be used, and what to do about it. */
export class UnusableKeyFile extends UnusableFile {
  override readonly name = 'UnusableKeyFile'
}

/** Larger files are not keys. */
const bytesMax = 4096

/**
 * The bytes of a file that only its owner can read; null where there is none.
 *
 * Checked on the open descriptor, so that the file that was checked is the one that is read, and
 * without following a link, which another user may have laid.
 */
export async function readPrivateFile(path: string): Promise<Uint8Array | null> {
  // Non-blocking: opening a FIFO without a writer would hang the start.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return null
    if (codeOf(error) === 'ELOOP')
      throw new UnusableKeyFile(`${path} is a link`, 'name the file itself')
    throw error
  })
  if (file === null) return null
  try {
    const { mode, size, uid } = await file.stat()
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || size > bytesMax) {
      throw new UnusableKeyFile(`${path} is not a key file`, 'name a file that holds the key alone')
    }
    if ((mode & 0o077) !== 0) {
      throw new UnusableKeyFile(`others can read ${path}`, `run: chmod 600 ${path}`)
    }
    const own = process.getuid?.()
    if (own !== undefined && uid !== own) {
      const next = 'run the fabric as its owner, or give it to the user of the fabric (`chown`)'
      throw new UnusableKeyFile(`${path} belongs to another user`, next)
    }
    return new Uint8Array(await file.readFile())
  } finally {
    await file.close()
  }
}

/**
 * Writes a file that did not exist, for its owner only. Durable and whole when it resolves; a crash
 * leaves either nothing under that name or all of it. Of two writers one is refused.
 */
export async function writePrivateFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.new`
  await rm(temporary, { force: true })
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  // A link, unlike a rename, never replaces a key that another process made in between.
  await link(temporary, path)
  await rm(temporary)
  const folder = await open(dirname(path), constants.O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null
}

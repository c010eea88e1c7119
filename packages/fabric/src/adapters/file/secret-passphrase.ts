import { scrypt } from 'node:crypto'
import { join } from 'node:path'
import { parseBase64, toBase64 } from '@countersign/protocol'
import { makeFolder } from '../../lib/named-path.ts'
import type { Random } from '../../lib/random.ts'
import { readPrivateFile, UnusableKeyFile, writePrivateFile } from './secret-private-file.ts'

/**
 * scrypt (RFC 7914): 32 MiB and about 80 ms on one core of a small server, so that a start stays
 * quick. The parameters are stored with the salt, so they can be raised for new stores.
 */
const parametersDefault = { N: 2 ** 15, r: 8, p: 1 } as const
/**
 * Bounds for what a changed file may ask for: not cheap to guess, and not more memory than we have.
 */
const costMin = 2 ** 14
const costMax = 2 ** 20
const saltBytes = 16
const keyBytes = 32
const passphraseBytesMin = 16
const saltFile = 'passphrase.json'

interface Parameters {
  readonly N: number
  readonly r: number
  readonly p: number
  readonly salt: Uint8Array
}

/** The master key behind a passphrase; zeroes the passphrase. The salt is made on the first use. */
export async function stretchPassphrase(
  passphrase: Uint8Array,
  dataDir: string,
  random: Random,
): Promise<Uint8Array> {
  const trimmed = trimNewline(passphrase)
  try {
    if (trimmed.length < passphraseBytesMin) {
      const next = 'write a longer one; several random words will do'
      throw new UnusableKeyFile(
        `the passphrase needs at least ${passphraseBytesMin} characters`,
        next,
      )
    }
    return await derive(trimmed, await openParameters(dataDir, random))
  } finally {
    passphrase.fill(0)
  }
}

/** Editors end a file with a newline that is not part of the passphrase. */
function trimNewline(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--
  return bytes.subarray(0, end)
}

async function openParameters(dataDir: string, random: Random): Promise<Parameters> {
  const path = join(dataDir, saltFile)
  const stored = await readPrivateFile(path)
  if (stored !== null) return parseParameters(stored, path)
  const salt = random(saltBytes)
  const text = JSON.stringify({ kdf: 'scrypt', ...parametersDefault, salt: toBase64(salt) })
  makeFolder(dataDir)
  await writePrivateFile(path, Buffer.from(`${text}\n`))
  return { ...parametersDefault, salt }
}

function parseParameters(bytes: Uint8Array, path: string): Parameters {
  const damaged = new Error(`${path} is damaged; restore it from a backup`)
  let fields: Record<string, unknown>
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    fields = typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    throw damaged
  }
  const { N, r, p } = fields
  const salt = typeof fields['salt'] === 'string' ? parseBase64(fields['salt']) : null
  if (fields['kdf'] !== 'scrypt' || salt?.length !== saltBytes) throw damaged
  if (typeof N !== 'number' || N < costMin || N > costMax || !Number.isInteger(Math.log2(N))) {
    throw damaged
  }
  if (r !== 8 || p !== 1) throw damaged
  return { N, r, p, salt }
}

function derive(passphrase: Uint8Array, parameters: Parameters): Promise<Uint8Array> {
  const { N, r, p, salt } = parameters
  // Node refuses to use more than 32 MiB unless `maxmem` allows it (RFC 7914, section 2: 128·N·r
  // bytes).
  const options = { N, r, p, maxmem: 256 * N * r }
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, keyBytes, options, (error, key) => {
      if (error === null) resolve(new Uint8Array(key))
      else reject(error)
    })
  })
}

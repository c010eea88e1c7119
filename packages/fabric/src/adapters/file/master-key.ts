import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseBase64, toBase64 } from '@countersign/protocol'
import { isInside, makeFolder } from '../../lib/named-path.ts'
import type { Random } from '../../lib/random.ts'
import type { Keyring, MasterKeyPlace } from '../../secrets/master-key.ts'
import { stretchPassphrase } from './secret-passphrase.ts'
import { readPrivateFile, UnusableKeyFile, writePrivateFile } from './secret-private-file.ts'

const keyBytes = 32

/**
 * The master key from the configured place.
 *
 * On the very first start a key file or keyring entry is made. Later a missing one is an error: a
 * fresh key would open none of the secrets that are already there. Rejects with a message that
 * states the remedy.
 */
export async function openConfiguredMasterKey(
  place: MasterKeyPlace,
  dataDir: string,
  random: Random,
  openKeyring: () => Promise<Keyring>,
): Promise<Uint8Array> {
  switch (place.from) {
    case 'environment':
      return parseKey(place.value, 'the environment')
    case 'key-file':
      assertOutside(place.path, dataDir)
      return openKeyFile(place.path, dataDir, random)
    case 'passphrase-file': {
      assertOutside(place.path, dataDir)
      const passphrase = await readPrivateFile(place.path)
      if (passphrase === null) {
        const next = 'write the passphrase there, readable by the user of the fabric alone'
        throw new UnusableKeyFile(`${place.path} does not exist`, next)
      }
      return stretchPassphrase(passphrase, dataDir, random)
    }
    case 'keyring':
      return openKeyringEntry(place.account, { dataDir, random, keyring: await openKeyring() })
  }
}

async function openKeyFile(path: string, dataDir: string, random: Random): Promise<Uint8Array> {
  const stored = await readPrivateFile(path)
  if (stored !== null) {
    if (stored.length === keyBytes) return stored
    const key = parseKey(Buffer.from(stored).toString('latin1').trim(), path)
    stored.fill(0)
    return key
  }
  await assertFirstStart(dataDir, `${path} does not exist`)
  const key = random(keyBytes)
  makeFolder(dirname(path))
  await writePrivateFile(path, Buffer.from(`${toBase64(key)}\n`))
  return key
}

async function openKeyringEntry(
  account: string,
  { dataDir, random, keyring }: { dataDir: string; random: Random; keyring: Keyring },
): Promise<Uint8Array> {
  const stored = await keyring.find(account)
  if (stored !== null) {
    if (stored.length !== keyBytes) throw new Error('the keyring entry is not a master key')
    return stored
  }
  await assertFirstStart(dataDir, `the keyring has no entry ${account}`)
  const key = random(keyBytes)
  await keyring.put(account, key)
  return key
}

/**
 * A key next to the data would be copied with every backup of what it protects. The default place
 * is in the home of the user, which is the data folder itself where a service account has no other
 * folder.
 */
function assertOutside(path: string, dataDir: string): void {
  if (!isInside(path, dataDir)) return
  throw new UnusableKeyFile(
    `the master key ${path} is inside the data folder ${dataDir}, so every backup would carry it along`,
    'name a place outside of the data folder by masterKey.path, and move the file there if it exists',
  )
}

/** Not a matter of the place alone: the fabric cannot vouch for what it keeps without its key. */
async function assertFirstStart(dataDir: string, what: string): Promise<void> {
  const secrets = await readdir(join(dataDir, 'secrets')).catch(ignoreAbsence)
  if (secrets.length === 0) return
  throw new Error(
    `${what}, but there are secrets already; restore the key from where you keep it, or name it by masterKey.path`,
  )
}

function ignoreAbsence(error: unknown): readonly string[] {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
  throw error
}

function parseKey(text: string, origin: string): Uint8Array {
  const key = parseBase64(text)
  if (key === null || key.length !== keyBytes) {
    throw new UnusableKeyFile(
      `the master key from ${origin} must be 32 bytes in base64`,
      'restore it from where you keep it; for a new fabric, `head -c 32 /dev/urandom | base64` makes one',
    )
  }
  return key
}

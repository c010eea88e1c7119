import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { lockWhenFree } from '../adapters/file/file-lock.ts'
import { openConfiguredMasterKey } from '../adapters/file/master-key.ts'
import {
  inspectFileSecrets,
  isSecretFile,
  openFileSecretStore,
} from '../adapters/file/secret-store.ts'
import { openOsKeyring } from '../adapters/keyring/os-keyring.ts'
import type { PostgresDatabase } from '../adapters/postgresql/database.ts'
import {
  hasPostgresSecrets,
  inspectPostgresSecrets,
  openPostgresSecretStore,
} from '../adapters/postgresql/secret-store.ts'
import type { Config } from '../config/config.ts'
import type { Random } from '../lib/random.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import { targetOfState } from './state-engine.ts'

/** The folder of the secrets, in the data folder. */
export const SECRETS_FOLDER = 'secrets'

/** Held by a process of the data folder while it starts, and for each change of a secret. */
export const SECRETS_LOCK = 'secrets.lock'

/** Each of them is made after the secrets, so that it proves that there were some. */
async function tracesOf(dataDir: string): Promise<readonly string[]> {
  // The folder of a log is made before its keys are, its first checkpoint after them.
  const slots = await filesOf(join(dataDir, 'ledger'))
  const checkpoints = slots.map((slot) => `ledger/${slot}/log/checkpoint`)
  return [...checkpoints, 'state.db', 'trust.json']
}

interface Owner {
  readonly config: Pick<Config, 'dataDir' | 'masterKey'>
  readonly random: Random
}

/**
 * Opens the secrets of a fabric: in `database`, for all processes that share the state, or in the
 * data folder. Of processes that start together for the first time, one makes the keys and the
 * others go on with them.
 */
export async function openSecrets(
  { config: { dataDir, masterKey: place }, random }: Owner,
  database: PostgresDatabase | null,
): Promise<SecretStore> {
  const lock = () => lockWhenFree(join(dataDir, SECRETS_LOCK))
  const unlock = await lock()
  try {
    if (database === null) {
      await assertSecretsKept(dataDir)
      const masterKey = await openConfiguredMasterKey(place, dataDir, random, openOsKeyring)
      const dir = join(dataDir, SECRETS_FOLDER)
      return await openFileSecretStore({ dir, masterKey, random, lock })
    }
    const isFirst = !(await hasPostgresSecrets(database))
    if (isFirst) await assertNotOfOther(dataDir)
    const source = isFirst ? random : makesNothing
    const masterKey = await openConfiguredMasterKey(place, dataDir, source, openOsKeyring)
    return await openPostgresSecretStore(database, { masterKey, random })
  } finally {
    unlock()
  }
}

/** Rejects where the data folder was used with secrets that this database does not have. */
async function assertNotOfOther(dataDir: string): Promise<void> {
  for (const trace of await tracesOf(dataDir)) {
    if (!(await exists(join(dataDir, trace)))) continue
    throw new Error(
      `the database of engines.state has no secrets, but ${dataDir} has ${trace}: name the database that it was used with, restore that, or start with a new folder (--data)`,
    )
  }
}

/**
 * Rejects where secrets that were made are gone, before anything is written: new keys would be in
 * the place of those that a backup still has. Resolves to whether there are any.
 */
export async function assertSecretsKept(dataDir: string): Promise<boolean> {
  const dir = join(dataDir, SECRETS_FOLDER)
  // The store itself names the missing part of an incomplete folder.
  if ((await filesOf(dir)).some((name) => isSecretFile(name))) return true
  for (const trace of await tracesOf(dataDir)) {
    if (await exists(join(dataDir, trace))) throw new Error(secretsGone(dir, trace))
  }
  return false
}

function secretsGone(dir: string, trace: string): string {
  const lost = `${dir} has no index of secrets, so the key ledger/a/log and all others are missing`
  return `${lost}, but there is ${trace}: restore all of secrets/ from one backup`
}

/**
 * Opens every secret of a data folder and changes nothing. Resolves to their number, null before
 * the first start.
 */
export async function inspectSecrets(
  config: Pick<Config, 'dataDir' | 'masterKey' | 'engines'>,
): Promise<number | null> {
  const { dataDir, masterKey: place } = config
  const { state } = config.engines
  if (state.engine === 'postgresql') {
    return inspectPostgresSecrets(await targetOfState(state), state.schema, () =>
      openConfiguredMasterKey(place, dataDir, makesNothing, openOsKeyring),
    )
  }
  if (!(await assertSecretsKept(dataDir))) return null
  const masterKey = await openConfiguredMasterKey(place, dataDir, makesNothing, openOsKeyring)
  return inspectFileSecrets({ dir: join(dataDir, SECRETS_FOLDER), masterKey })
}

/** In the place of randomness, where a missing part must not be made anew. */
function makesNothing(): never {
  throw new Error(
    'a part of the master key is missing; restore it from a backup, or take that of the fabric with which the state is shared',
  )
}

async function filesOf(dir: string): Promise<readonly string[]> {
  return readdir(dir).catch((error: unknown) => {
    if (isAbsence(error)) return []
    throw error
  })
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

function isAbsence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

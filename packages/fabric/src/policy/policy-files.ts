import { existsSync, renameSync } from 'node:fs'
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemFiles } from '../lib/durable-file.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { PolicySource } from './policy-set.ts'

/**
 * Policies that only let operators in and agents find each other; a folder that exists is left
 * alone. It appears whole and durable, or not at all: the next start would take half of it for the
 * operator's own choice, and the half that lets the operator in could be the other one.
 */
export async function installDefaultPolicies(policyDir: string): Promise<void> {
  if (existsSync(policyDir)) return
  const beside = `${policyDir}.new`
  await rm(beside, { recursive: true, force: true })
  makeFolder(beside)
  const shipped = new URL('../../policies/', import.meta.url)
  for (const name of await readdir(shipped)) {
    await writeDurably(join(beside, name), await readFile(new URL(name, shipped)))
  }
  await systemFiles.syncDirectory(beside)
  await rename(beside, policyDir)
  await systemFiles.syncDirectory(dirname(policyDir))
}

/** A policy file that is durable under a name that no set of policies includes. */
export interface StagedPolicyFile {
  /**
   * Durable when it resolves; a crash leaves the old text or the new one. `before` runs immediately
   * before the old one is replaced, in the same turn of the event loop.
   */
  commit(before?: () => void): Promise<void>
  discard(): Promise<void>
}

/** Everything that a full disk could refuse is done before the file replaces the one in force. */
export async function stagePolicyFile(
  policyDir: string,
  { name, text }: PolicySource,
): Promise<StagedPolicyFile> {
  makeFolder(policyDir)
  const path = join(policyDir, name)
  const staged = `${path}.new`
  await writeDurably(staged, Buffer.from(text))
  return {
    async commit(before) {
      before?.()
      renameSync(staged, path)
      await systemFiles.syncDirectory(policyDir)
    },
    discard: () => rm(staged, { force: true }),
  }
}

export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

import { existsSync } from 'node:fs'
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { a2aOperations, mcpMethods } from '@countersign/protocol'
import { OPERATIONS, WATCH_OPERATION } from '../admin/operations.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { OperationNames } from '../policy/possible.ts'
import { METHODS } from '../protocols/reading/head.ts'
import { mcpSubjects } from '../protocols/reading/operations.ts'

const administered = (action: 'read' | 'administer'): readonly string[] =>
  Object.entries(OPERATIONS).flatMap(([name, each]) => (each.action === action ? [name] : []))

const a2a = [...new Set(a2aOperations.values()), 'GetAgentCard', 'unread']
const mcp = [...mcpMethods, 'notifications/*', 'stream', 'session/end', 'response', 'unread']
const http = [...METHODS, 'unread']

/** Every operation that a request can name, for warnings about policies that name another one. */
export const OPERATION_NAMES: OperationNames = {
  of: {
    a2a: { call: a2a, administer: a2a },
    mcp: { call: mcp, administer: mcp },
    http: { call: http, administer: http },
    queue: {
      publish: ['publish', 'publish.channel', 'unread'],
      consume: ['lease', 'settle', 'unread'],
      discover: ['discover.channel', 'unread'],
    },
    admin: {
      discover: ['mesh.state', 'unread'],
      record: ['mesh.register', 'mesh.entries', 'unread'],
      read: [
        ...[...administered('read'), WATCH_OPERATION, 'own.receipt', 'receipt.read', 'unread'],
      ],
      administer: [...administered('administer'), 'unread'],
    },
  },
  named: [...mcpSubjects.keys()],
}

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

/**
 * Replaces one policy file. Durable when it resolves; a crash leaves the old text or the new one.
 */
export async function replacePolicyFile(
  policyDir: string,
  name: string,
  text: string,
): Promise<void> {
  makeFolder(policyDir)
  const path = join(policyDir, name)
  await writeDurably(`${path}.new`, Buffer.from(text))
  await rename(`${path}.new`, path)
  await systemFiles.syncDirectory(policyDir)
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

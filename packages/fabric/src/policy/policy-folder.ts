import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseUtf8 } from '@countersign/protocol'
import { PoliciesRejected, policySourcesMax } from './compile-policies.ts'
import type { PolicySource } from './policy-set.ts'

/** True for the name of a file that lies directly in a folder, on every system. */
export function isPolicyFileName(name: string): boolean {
  return /^[^/\\\p{Cc}]{1,240}\.cedar$/u.test(name) && name.isWellFormed()
}

/**
 * Every `*.cedar` file directly in `dir`, sorted by name. A missing folder holds none, and so
 * denies everything. Rejects with `PoliciesRejected` for a file that is not UTF-8.
 */
export async function readPolicyFolder(dir: string): Promise<readonly PolicySource[]> {
  const names = (await listNames(dir)).filter((name) => name.endsWith('.cedar')).toSorted()
  if (names.length > policySourcesMax) {
    throw problemIn(dir, `more than ${policySourcesMax} policy files`, 'join or remove some')
  }
  const odd = names.find((name) => !isPolicyFileName(name))
  if (odd !== undefined)
    throw problemIn(odd, 'the name has characters that no file may', 'rename it')
  return Promise.all(names.map((name) => readSource(dir, name)))
}

async function listNames(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

async function readSource(dir: string, name: string): Promise<PolicySource> {
  const bytes = await readFile(join(dir, name))
  try {
    return { name, text: parseUtf8(bytes) }
  } catch {
    throw problemIn(name, 'the file is not UTF-8 text', 'save it as UTF-8')
  }
}

function problemIn(file: string, message: string, help: string): PoliciesRejected {
  return new PoliciesRejected([{ file, line: 1, column: 1, message, help }])
}

import { parseUtf8, utf8 } from '@countersign/protocol'
import { SecretRejected } from './secret-envelope.ts'

/** The highest version of every secret, by name. */
export type SecretVersions = ReadonlyMap<string, number>

/** A name is path-like, and short enough for any file system once it stands in one file name. */
const namePattern = /^[a-z0-9][a-z0-9._-]*(?:\/[a-z0-9][a-z0-9._-]*)*$/
const nameBytesMax = 200

export function assertSecretName(name: string): void {
  if (name.length > nameBytesMax || !namePattern.test(name)) {
    throw new TypeError(`${JSON.stringify(name)} cannot be the name of a secret`)
  }
}

/** `+` stands for the slash; it is in no name, so two names never share a file. */
export function secretFileName(name: string): string {
  return `${name.replaceAll('/', '+')}.secret`
}

export function writeVersions(versions: SecretVersions): Uint8Array {
  return utf8(JSON.stringify([...versions].toSorted(([a], [b]) => (a < b ? -1 : 1))))
}

/** The bytes come out of an envelope that authenticated, so a fault here is ours. */
export function parseVersions(bytes: Uint8Array): Map<string, number> {
  const versions = new Map<string, number>()
  const list: unknown = JSON.parse(parseUtf8(bytes))
  if (!Array.isArray(list)) throw new SecretRejected('the index of secrets cannot be read')
  for (const entry of list as readonly unknown[]) {
    const [name, version] = Array.isArray(entry) ? (entry as readonly unknown[]) : []
    if (typeof name !== 'string' || typeof version !== 'number') {
      throw new SecretRejected('the index of secrets cannot be read')
    }
    versions.set(name, version)
  }
  return versions
}

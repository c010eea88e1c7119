import { RETENTION_FILE } from './retention-note.ts'
import type { ResourceStore } from './store.ts'
import {
  encodeBundle,
  hashBytes,
  parseBundle,
  parseTilePath,
  tilePath,
  tileWidth,
} from './tiles.ts'

/**
 * The bytes of a public resource (C2SP tlog-tiles), or null. A partial tile that was superseded is
 * cut out of the full one, so that a client with an older checkpoint never finds a gap.
 */
export async function findPublicResource(
  resources: ResourceStore,
  path: string,
): Promise<Uint8Array | null> {
  if (path === 'checkpoint' || path === RETENTION_FILE) return resources.read(path)
  const address = parseTilePath(path)
  if (address === null) return null
  const { kind, tile, width } = address
  const found = await resources.read(path)
  if (found !== null || width === tileWidth) return found
  const full = await resources.read(tilePath(kind, tile))
  if (full === null) return null
  if (kind !== 'entries') return full.subarray(0, width * hashBytes)
  return encodeBundle(parseBundle(full, tileWidth).slice(0, width))
}

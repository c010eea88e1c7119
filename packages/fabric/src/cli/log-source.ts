import { statSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { ArrivingBytes, type ReadLogTile, tileWidth } from '@countersign/protocol'
import { readInFolder } from '../lib/named-path.ts'
import { Failure } from './failure.ts'

/** The public resources of a log: a folder, or the address of `/log/`. */
export interface LogSource {
  readCheckpoint(): Promise<Uint8Array>
  readonly readTile: ReadLogTile
}

/** A checkpoint with every signature that a verifier accepts is far below. */
const checkpointBytesMax = 65_536
/** All requests of one comparison: 15 at most, each a few kilobytes. */
const answersMsMax = 30_000

/**
 * Null for a path that is not a folder. `readCa` returns the roots of a server as PEM; null for the
 * system's own. It is not called for a folder.
 */
export function findLogSource(
  place: string,
  readCa: () => Uint8Array | null,
  msMax = answersMsMax,
): LogSource | null {
  if (/^https?:\/\//i.test(place)) return openAddress(place, { readCa, msMax })
  return statSync(place, { throwIfNoEntry: false })?.isDirectory() === true
    ? openLogFolder(place)
    : null
}

function openLogFolder(folder: string): LogSource {
  return {
    readCheckpoint: async () => readInFolder(join(folder, 'checkpoint'), checkpointBytesMax),
    async readTile(path, bytes) {
      const partial = path.indexOf('.p/')
      const file = join(folder, path)
      const isThere = statSync(file, { throwIfNoEntry: false }) !== undefined
      if (partial < 0 || isThere) return readInFolder(file, bytes)
      // A copy of the log may hold only the full tile that took the place of this one.
      return readInFolder(join(folder, path.slice(0, partial)), fullTileBytes).subarray(0, bytes)
    },
  }
}

const fullTileBytes = tileWidth * 32

interface AddressOptions {
  readonly msMax: number
  readonly readCa: () => Uint8Array | null
}

function openAddress(place: string, { readCa, msMax }: AddressOptions): LogSource {
  const base = URL.parse(place.endsWith('/') ? place : `${place}/`)
  const isPlain = base?.search === '' && base.hash === '' && base.username === ''
  if (base?.protocol !== 'https:' || !isPlain) {
    throw new Failure('usage', 'the address of a log is https://<host>/log/')
  }
  const ca = readCa()
  const signal = AbortSignal.timeout(msMax)
  const read = (path: string, bytes: number) =>
    get(new URL(path, base), { ca, bytes, signal, msMax })
  return { readCheckpoint: () => read('checkpoint', checkpointBytesMax), readTile: read }
}

interface Get {
  readonly ca: Uint8Array | null
  readonly bytes: number
  readonly signal: AbortSignal
  readonly msMax: number
}

async function get(url: URL, { ca, bytes, signal, msMax }: Get): Promise<Uint8Array> {
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const roots = ca === null ? {} : { ca: Buffer.from(ca) }
      request(url, { ...roots, agent: false, minVersion: 'TLSv1.3', signal })
        .once('response', resolve)
        .once('error', reject)
        .end()
    })
    try {
      return await readAnswer(url, response, bytes)
    } finally {
      response.destroy()
    }
  } catch (cause) {
    if (cause instanceof Failure) throw cause
    const reason = signal.aborted
      ? `no whole answer within ${msMax / 1000} s`
      : cause instanceof Error
        ? cause.message
        : String(cause)
    throw new Failure('unreachable', `${url.href} cannot be read: ${reason}`)
  }
}

async function readAnswer(url: URL, response: IncomingMessage, bytes: number): Promise<Uint8Array> {
  const { statusCode = 0 } = response
  if (statusCode >= 300 && statusCode < 400) {
    const next = 'the log is at another address: pass that one, if it is one that you know'
    throw new Failure('unreachable', `${url.href} redirects, which is not followed`, next)
  }
  if (statusCode !== 200) throw new Failure('unreachable', `${url.href}: status ${statusCode}`)
  const body = new ArrivingBytes(bytes)
  for await (const chunk of response) {
    if (!body.add(chunk as Uint8Array)) {
      throw new Failure('no', `${url.href} is longer than ${bytes} bytes`)
    }
  }
  return body.take()
}

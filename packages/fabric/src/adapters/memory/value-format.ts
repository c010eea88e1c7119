import { crc32c } from '../../lib/crc32c.ts'

/** A used value as it is kept: by its hash, so that all have one size and none can be read. */
export interface RecordedValue {
  /** SHA-256 of the value, base64url. */
  readonly key: string
  /** The time for which it is kept from when it was claimed. */
  readonly windowMs: number
  /** Unix milliseconds. */
  readonly expiresAt: number
}

/** Header and records have one size, so that a torn end is less than one of them. */
export const recordBytes = 48

const magic = 'CSUSED01'

/** Why the values of a file cannot be relied on, as the end of a sentence. */
export class ValueFileFault extends Error {
  override readonly name = 'ValueFileFault'
}

/**
 * `hash 32 ‖ expiry f64 ‖ window u32 ‖ crc u32`, little endian. The checksum finds accidents; a
 * user who can write the file can write the database next to it.
 */
export function encodeRecord({ key, windowMs, expiresAt }: RecordedValue): Uint8Array {
  const bytes = Buffer.allocUnsafe(recordBytes)
  bytes.write(key, 0, 32, 'base64url')
  bytes.writeDoubleLE(expiresAt, 32)
  bytes.writeUInt32LE(Math.ceil(windowMs), 40)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 44)), 44)
  return bytes
}

interface Header {
  readonly bootId: string | null
  /** Of the file itself: a copy, such as one of a backup, has another one. */
  readonly inode: bigint
  readonly lostAt: number
}

/** `magic 8 ‖ boot id 16 ‖ inode u64 ‖ time of the last loss f64 ‖ 0 u32 ‖ crc u32`. */
export function encodeHeader({ bootId, inode, lostAt }: Header): Uint8Array {
  const bytes = Buffer.alloc(recordBytes)
  bytes.write(magic, 0, 'latin1')
  bytes.set(bootBytes(bootId), 8)
  bytes.writeBigUInt64LE(inode, 24)
  bytes.writeDoubleLE(lostAt, 32)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 44)), 44)
  return bytes
}

function bootBytes(bootId: string | null): Uint8Array {
  return Buffer.from((bootId ?? '').replaceAll('-', '').padEnd(32, '0').slice(0, 32), 'hex')
}

/**
 * Reads a file that was written in this boot. Bytes behind the last whole record are of a value
 * that was never accepted, since its write did not return. Throws `ValueFileFault` on anything
 * else.
 */
export function readValueFile(
  content: Uint8Array,
  { bootId, inode }: Pick<Header, 'bootId' | 'inode'>,
): { readonly lostAt: number; readonly values: readonly RecordedValue[] } {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length)
  const header = bytes.subarray(0, recordBytes)
  if (
    header.length < recordBytes ||
    header.toString('latin1', 0, 8) !== magic ||
    !isWhole(header)
  ) {
    throw new ValueFileFault('their file is not one of this version, or is corrupt')
  }
  if (!header.subarray(8, 24).equals(bootBytes(bootId))) {
    throw new ValueFileFault('the host has been started since')
  }
  if (header.readBigUInt64LE(24) !== inode) {
    throw new ValueFileFault('their file is a copy, as of a backup')
  }
  const values: RecordedValue[] = []
  for (let at = recordBytes; at + recordBytes <= bytes.length; at += recordBytes) {
    const record = bytes.subarray(at, at + recordBytes)
    if (!isWhole(record)) throw new ValueFileFault('their file is corrupt')
    values.push({
      key: record.toString('base64url', 0, 32),
      expiresAt: record.readDoubleLE(32),
      windowMs: record.readUInt32LE(40),
    })
  }
  return { lostAt: header.readDoubleLE(32), values }
}

function isWhole(record: Buffer): boolean {
  return record.readUInt32LE(44) === crc32c(record.subarray(0, 44)) >>> 0
}

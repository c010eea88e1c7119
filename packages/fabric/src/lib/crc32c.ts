/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4), eight bytes a step. Finds accidents, not attacks.
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous
  let at = 0
  const whole = bytes.length - (bytes.length % 8)
  while (at < whole) {
    const low =
      crc ^
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24))
    crc =
      (tables[0x700 + (low & 0xff)] as number) ^
      (tables[0x600 + ((low >>> 8) & 0xff)] as number) ^
      (tables[0x500 + ((low >>> 16) & 0xff)] as number) ^
      (tables[0x400 + (low >>> 24)] as number) ^
      (tables[0x300 + (bytes[at + 4] as number)] as number) ^
      (tables[0x200 + (bytes[at + 5] as number)] as number) ^
      (tables[0x100 + (bytes[at + 6] as number)] as number) ^
      (tables[bytes[at + 7] as number] as number)
    at += 8
  }
  while (at < bytes.length) {
    crc = (crc >>> 8) ^ (tables[(crc ^ (bytes[at++] as number)) & 0xff] as number)
  }
  return ~crc >>> 0
}

/** Row `k` advances a byte past `k` zero bytes. */
const tables = createTables()

function createTables(): Int32Array {
  const rows = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    rows[byte] = crc
  }
  for (let at = 256; at < rows.length; at++) {
    const before = rows[at - 256] as number
    rows[at] = (before >>> 8) ^ (rows[before & 0xff] as number)
  }
  return rows
}

import { toHex } from '@countersign/protocol'
import type { Random } from '../lib/random.ts'

/**
 * Serial numbers of agents' certificates: 20 bytes, of which four state the enrolment of its agent
 * that a certificate came from, the first being 1. All others, those of earlier versions with their
 * 16 bytes among them, are of generation 0.
 *
 * The authority signs the number, so it holds without a clock and without a list of what was
 * issued.
 */
const marker = 0x43
const serialLength = 20

export function serialOfGeneration(generation: number, random: Random): string {
  const bytes = new Uint8Array(serialLength)
  bytes[0] = marker
  new DataView(bytes.buffer).setUint32(1, generation)
  bytes.set(random(serialLength - 5), 5)
  return toHex(bytes)
}

/** Reads lower-case hex without leading zeros, as certificates are parsed. */
export function generationOf(serialNumber: string): number {
  if (serialNumber.length !== serialLength * 2 || !serialNumber.startsWith(marker.toString(16))) {
    return 0
  }
  return Number.parseInt(serialNumber.slice(2, 10), 16)
}

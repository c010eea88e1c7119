import { Refusal } from '../lib/refusal.ts'

/**
 * The log that a cursor belongs to, as its slot and the key of its checkpoints: every replica, and
 * every fabric that was made anew, has an index 7.
 */
export interface CursorLog {
  readonly slot: string
  /** C2SP signed-note verifier key, `<name>+<key id in hex>+<key>`. */
  readonly vkey: string
}

/** `<slot>.<key id>.<index>`: the place in front of an entry. Not a secret, and not signed. */
export function formatCursor({ slot, vkey }: CursorLog, index: number): string {
  return `${slot}.${keyIdOf(vkey)}.${index}`
}

const pattern = /^([a-z][a-z0-9]?)\.([0-9a-f]{8})\.(0|[1-9][0-9]{0,14})$/

/** Returns the index, or why there is none in this log. */
export function parseCursor(text: string, { slot, vkey }: CursorLog): number | Refusal {
  const [, ofSlot, ofKey, index] = pattern.exec(text) ?? []
  if (ofSlot === undefined) return new Refusal('CURSOR_UNKNOWN', 'the cursor is malformed')
  if (ofSlot === slot && ofKey === keyIdOf(vkey)) return Number(index)
  const whose = ofSlot === slot ? 'an earlier log of slot' : 'the log of slot'
  const detail = `the cursor is of ${whose} ${ofSlot}, and this process reads that of slot ${slot}`
  return new Refusal('CURSOR_UNKNOWN', detail)
}

function keyIdOf(vkey: string): string {
  return vkey.split('+')[1] ?? ''
}

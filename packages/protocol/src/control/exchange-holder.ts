import { isSlotName } from '../encoding/ids.ts'

/** The replica that holds the log of an exchange, as the refusal `EXCHANGE_ELSEWHERE` names it. */
export interface ExchangeHolder {
  /** The log slot. */
  readonly slot: string
  /** `https://host:port`; null while no process holds the slot, or its address is not known. */
  readonly address: string | null
}

const addressLengthMax = 300

/** Reports whether `text` is `https://host:port` and nothing more, in its one form. */
export function isHolderAddress(text: unknown): text is string {
  if (typeof text !== 'string' || text.length > addressLengthMax || !URL.canParse(text)) {
    return false
  }
  const { protocol, origin } = new URL(text)
  return protocol === 'https:' && origin === text
}

/** `b; address=https://host:port`, or `b` alone. */
export function formatHolderField({ slot, address }: ExchangeHolder): string {
  return address === null ? slot : `${slot}; address=${address}`
}

/** Null for any other text. */
export function parseHolderField(text: string | null): ExchangeHolder | null {
  const [, slot, address = null] = /^([a-z0-9]{1,2})(?:; ?address=(\S+))?$/.exec(text ?? '') ?? []
  if (!isSlotName(slot)) return null
  if (address !== null && !isHolderAddress(address)) return null
  return { slot, address }
}

import { timingSafeEqual } from 'node:crypto'
import { utf8 } from '@countersign/protocol'
import { hmacSha256 } from '../lib/hmac.ts'

/** To whom a lease was given. */
export interface LeasePlace {
  readonly channel: string
  readonly group: string
  readonly caller: string
}

/** 132 bits, in base64url. */
const sealLength = 22

/** No engine gives out such a token, so no lease is ever found under it. */
export const unowned = 'nobodys'

/**
 * Binds the tokens of leases to the members they were handed to. Members of one group share its
 * messages, not their leases: a member that learns another's token must not be able to settle with
 * it.
 */
export class LeaseTokens {
  readonly #key: Uint8Array
  /** Of the last call: all messages of one lease have one token. */
  #last = { names: '', seal: '' }

  constructor(key: Uint8Array) {
    this.#key = key
  }

  bind(token: string, place: LeasePlace): string {
    return `${token}${this.#seal(token, place)}`
  }

  /** The engine's own token, or one that opens nothing. */
  unbind(bound: string, place: LeasePlace): string {
    const token = bound.slice(0, -sealLength)
    const given = utf8(bound.slice(-sealLength))
    const expected = utf8(this.#seal(token, place))
    return given.length === expected.length && timingSafeEqual(given, expected) ? token : unowned
  }

  #seal(token: string, { channel, group, caller }: LeasePlace): string {
    // No name holds a zero byte, so the joined names cannot be read in two ways.
    const names = [channel, group, caller, token].join('\0')
    if (this.#last.names !== names) {
      const mac = hmacSha256(this.#key, utf8(names))
      this.#last = { names, seal: mac.toString('base64url').slice(0, sealLength) }
    }
    return this.#last.seal
  }
}

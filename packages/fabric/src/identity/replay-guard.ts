/** Remembers what was seen, for as long as it could be played again. */
export interface ReplayGuard {
  /**
   * Claims `nonce` for `windowMs`. True for exactly one of any number of calls within the window.
   *
   * Rejects when the guard cannot decide, a full one included; callers must treat that as already
   * used. A live nonce is never forgotten to make room: an attacker would only have to send enough.
   */
  claim(nonce: string, windowMs: number): Promise<boolean>
}

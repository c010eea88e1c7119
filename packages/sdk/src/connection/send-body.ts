import type { ClientRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import { AgentError } from '../lib/fault.ts'

/** A body that is read while it is sent, once. */
export interface SentBody {
  /** The next bytes; null after the last ones. Nothing is read ahead of the connection. */
  next(): Promise<Uint8Array | null>
  /** Nothing more is read. May be called at any time. */
  stop(): void
}

/**
 * Writes `body` to `out` at the pace at which the connection takes it. A body that fails ends the
 * request as one that broke off, with REQUEST_UNFINISHED: its receiver must not take the beginning
 * for the whole. `proved` resolves once the peer may receive a byte.
 */
export function sendBody(
  out: ClientRequest,
  body: SentBody,
  proved: (socket: Duplex) => Promise<void>,
): void {
  let isOver = false
  out.once('close', () => {
    isOver = true
    body.stop()
  })
  out.once('response', (response) => {
    // The receiver needs no more of the request, and nothing would read it.
    response.once('end', () => {
      if (!out.writableEnded) out.destroy()
    })
  })
  const write = async (): Promise<void> => {
    for (;;) {
      const bytes = await body.next()
      if (isOver) return
      if (bytes === null) {
        out.end()
        return
      }
      if (!out.write(bytes)) await taken(out)
    }
  }
  out.once('socket', (socket) => {
    proved(socket)
      .then(write)
      .catch((cause: unknown) => {
        if (!isOver) out.destroy(new AgentError('REQUEST_UNFINISHED', messageOf(cause), { cause }))
      })
  })
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** Resolves when the connection takes more, or never will. */
function taken(out: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      out.off('drain', done)
      out.off('close', done)
      resolve()
    }
    out.on('drain', done)
    out.on('close', done)
  })
}

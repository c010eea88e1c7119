import { IncomingMessage } from 'node:http'
import type { ReceivedStream } from './received-stream.ts'

/** The same request with its body still to be read: ours has been read to be verified. */
export function replayed(raw: IncomingMessage, body: Uint8Array | null): IncomingMessage {
  const whole = sameHead(raw)
  whole.complete = true
  if (body !== null && body.length > 0) whole.push(body)
  whole.push(null)
  return whole
}

/** The same request, of which each frame is read when it is asked for. */
export function replayedStream(raw: IncomingMessage, stream: ReceivedStream): IncomingMessage {
  const whole = sameHead(raw)
  let bytes: ReturnType<ReceivedStream['bytes']> | null = null
  whole._read = () => {
    bytes ??= stream.bytes()
    bytes.next().then(
      ({ done, value }) => {
        whole.complete = done === true
        whole.push(done === true ? null : value)
      },
      (cause: Error) => whole.destroy(cause),
    )
  }
  return whole
}

function sameHead(raw: IncomingMessage): IncomingMessage {
  const whole = new IncomingMessage(raw.socket)
  whole.method = raw.method ?? ''
  whole.url = raw.url ?? ''
  whole.httpVersion = raw.httpVersion
  whole.httpVersionMajor = raw.httpVersionMajor
  whole.httpVersionMinor = raw.httpVersionMinor
  whole.rawHeaders = raw.rawHeaders
  whole.headers = raw.headers
  return whole
}

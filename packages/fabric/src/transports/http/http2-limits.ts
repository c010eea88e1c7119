import type { HeadLimits } from './unparsed.ts'

/**
 * Bounds of one HTTP/2 connection. Beyond them Node ends it, with GOAWAY; without one beyond
 * `maxSessionInvalidFrames` and `maxSessionRejectedStreams`, since its codec has failed by then and
 * sends nothing.
 */
const connectionLimits = {
  maxHeaderListPairs: 128,
  // Maximum size of the compressor's table for our own responses, whatever the client asks for.
  maxDeflateDynamicTableSize: 4096,
  /** Acknowledgements that the client has not taken yet. */
  maxOutstandingPings: 10,
  maxOutstandingSettings: 10,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  /** Megabytes of everything that the session holds in native memory. */
  maxSessionMemory: 10,
  /** Streams that may be reset at once, and per second from then on (CVE-2023-44487). */
  streamResetBurst: 200,
  streamResetRate: 20,
  settings: {
    maxConcurrentStreams: 100,
    // Without a table, the size of a head on the wire is its stated size: `http.frameBytes` counts
    // it.
    headerTableSize: 0,
  },
}

/** Options of every listener that takes HTTP/2, besides its TLS. */
export function http2Limits({ headBytesMax }: HeadLimits) {
  const settings = { ...connectionLimits.settings, maxHeaderListSize: headBytesMax }
  return { ...connectionLimits, settings }
}

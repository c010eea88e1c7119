/**
 * The fields of a response, by who may set them: one list for the gateway and for connectors on
 * both sides (docs/protocol.md, "Fields"). A field in neither does not pass.
 */

/** Set by receivers. None asks a client to send again: `Retry-After` is the fabric's alone. */
export const receiverFields: ReadonlySet<string> = new Set([
  'a2a-extensions',
  'a2a-version',
  'allow',
  'content-digest',
  'content-language',
  'content-type',
  'etag',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'last-modified',
  'mcp-protocol-version',
  'mcp-session-id',
  'vary',
])

/** Those that may come after the body: the end of a call of gRPC. */
export const trailerFields: ReadonlySet<string> = new Set(['grpc-message', 'grpc-status'])

/**
 * Lists, of which several lines are one list in their order (RFC 9110, section 5.3). Any other
 * field that occurs twice has two readings.
 */
export const listFields: ReadonlySet<string> = new Set([
  'a2a-extensions',
  'allow',
  'content-language',
  'vary',
])

/** Set by each signer, and replaced by each hop that signs itself. */
export const signatureFields: ReadonlySet<string> = new Set(['signature', 'signature-input'])

/**
 * Set by the fabric, or by a connector of its own refusals. From a receiver they are dropped, apart
 * from the exchange that its connector recorded and a refusal that it states, which are read by
 * rules of their own.
 */
export const fabricFields: ReadonlySet<string> = new Set([
  'cache-control',
  'countersign-approval',
  'countersign-holder',
  'countersign-limit',
  'countersign-may-have-acted',
  'countersign-refusal',
  'countersign-stated-by',
  'countersign-withdrawal',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
])

/**
 * State what is on record of a response: at a receiver's connector too, whose exchange is bound to
 * the caller's signature.
 */
export const recordFields: ReadonlySet<string> = new Set([
  'countersign-exchange',
  'countersign-receipt',
  'countersign-response-end',
])

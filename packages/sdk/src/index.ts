export {
  type CheckpointComparison,
  CheckpointError,
  type CheckpointRelation,
  compareCheckpoints,
  compareFrames,
  compareTranscript,
  describeSource,
  parseTrust,
  RECEIPT_FAULTS,
  REFUSALS,
  type ReadLogTile,
  ReceiptError,
  type RefusalCode,
  type SignedCheckpoint,
  type Source,
  sourceOf,
  TileError,
  type Trust,
  type VerifiedEntry,
  type VerifiedReceipt,
} from '@countersign/protocol'
export { type Agent, type AgentOptions, openAgent } from './agent.ts'
export type { CallOptions } from './call/call.ts'
export type { ServerSentEvent } from './call/events.ts'
export { EventParser } from './call/events.ts'
export type { KeptFrames } from './call/frame-match.ts'
export { type Receipt, type ReceiptOptions, verify } from './call/receipt.ts'
export type { Reply } from './call/reply.ts'
export type { Channel, ChannelSettings, OutgoingMessage, SendOptions } from './channel/channel.ts'
export type { ReceivedMessage, ReceiveOptions } from './channel/channel-receiver.ts'
export type { SentMessage, Signatures } from './channel/channel-sender.ts'
// The base of the command line and connectors: an identity, its connection to the fabric, and
// events.
export { askHolder } from './connection/at-holder.ts'
export { askControl, type ControlRequest } from './connection/control.ts'
export type {
  ConnectionRequest,
  ConnectionResponse,
  FabricConnection,
} from './connection/fabric-connection.ts'
export { findRefusal, type RefusedApproval, RefusedError } from './connection/refused.ts'
export type { FrameRecord } from './frames/frame-tally.ts'
export type { BodyPieces } from './frames/outgoing-frames.ts'
export { type Identity, type IdentityOptions, openIdentity } from './identity/identity.ts'
export { formatJoin, type Join, parseJoin } from './identity/join.ts'
export { type FabricTrust, parseTrustDocument, readTrust } from './identity/trust.ts'
export type { Clock } from './lib/clock.ts'
export { AgentError, FAULTS, type FaultCode } from './lib/fault.ts'
export type { Forwarded, ForwardKey } from './serve/forwarded.ts'
export { ndjsonResponse } from './serve/ndjson-response.ts'
export type { ReceivedStream } from './serve/received-stream.ts'
export type { EndpointProtocol } from './serve/registration.ts'
export {
  type AgentHandler,
  type NodeListener,
  type Received,
  type ReceivedRequest,
  receivedOf,
  type Served,
  type ServeOptions,
} from './serve/serve.ts'

export {
  describeSource,
  parseTrust,
  RECEIPT_FAULTS,
  REFUSALS,
  ReceiptError,
  type RefusalCode,
  type Source,
  sourceOf,
  type Trust,
  type VerifiedEntry,
  type VerifiedReceipt,
} from '@countersign/protocol'
export { type Agent, type AgentOptions, openAgent } from './agent.ts'
export type { CallOptions } from './call.ts'
export type { Channel, OutgoingMessage, SendOptions } from './channel.ts'
export type { ReceivedMessage, ReceiveOptions } from './channel-receiver.ts'
export type { SentMessage } from './channel-sender.ts'
export type { Clock } from './clock.ts'
// What the command line and connectors build on: an identity, its line to the fabric, and events.
export { askControl, type ControlRequest } from './control.ts'
export type { ServerSentEvent } from './events.ts'
export { EventParser } from './events.ts'
export { AgentError, FAULTS, type FaultCode } from './fault.ts'
export type { Forwarded, ForwardKey } from './forwarded.ts'
export { type Identity, type IdentityOptions, openIdentity } from './identity.ts'
export { formatJoin, type Join, parseJoin } from './join.ts'
export type { Line, LineRequest, LineResponse } from './line.ts'
export { type Receipt, verify } from './receipt.ts'
export { findRefusal, RefusedError } from './refused.ts'
export type { EndpointProtocol } from './registration.ts'
export type { Reply } from './reply.ts'
export {
  type AgentHandler,
  type Incoming,
  incomingOf,
  type NodeListener,
  type Served,
  type ServeOptions,
} from './serve.ts'
export { type FabricTrust, parseTrustDocument, readTrust } from './trust.ts'

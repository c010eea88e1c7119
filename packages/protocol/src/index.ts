export {
  type ChannelDescriptor,
  type ChannelMember,
  descriptorSignatureInput,
  encodeDescriptor,
  encodeSignedDescriptor,
  parseDescriptor,
  parseSignedDescriptor,
  type SignedDescriptor,
} from './channels/channel-descriptor.ts'
export {
  CHANNEL_FRAMES_TYPE,
  encodeFrames,
  encodeLeaseRequest,
  encodeLeases,
  encodePublishAnswer,
  encodeSettlement,
  encodeSettlementAnswer,
  type FrameLimits,
  hasFormerVerdicts,
  isChannelName,
  isGroupName,
  KEY_LOG_LIMITS,
  KEY_LOG_MESSAGES_MAX,
  LEASE_MESSAGES_MAX,
  LEASE_MS_MAX,
  LEASE_MS_MIN,
  LEASE_WAIT_MS_MAX,
  type LeasedFrame,
  type LeaseRequest,
  PUBLISH_LIMITS,
  type PublishAnswer,
  type PublishOutcome,
  parseFrames,
  parseLeaseRequest,
  parseLeases,
  parsePublishAnswer,
  parseSettlement,
  parseSettlementAnswer,
  RETRY_DELAY_MS_MAX,
  type Settlement,
  type SettlementItem,
} from './channels/channel-format.ts'
export {
  encodeSealedContent,
  parseSealedContent,
  type SealedContent,
  type SealedPadding,
} from './channels/sealed-content.ts'
export {
  encodeKeyMessage,
  KEY_MEMBERS_MAX,
  type KeyMessage,
  keySignatureInput,
  keyWrapInfo,
  parseKeyMessage,
  type SignedKeyMessage,
  type WrappedKey,
} from './channels/sealed-key.ts'
export {
  type BatchProof,
  completeMessage,
  encodeAdditionalData,
  encodeUnsignedMessage,
  isContentType,
  isSealedLabel,
  messageIdBytes,
  parseSealedMessage,
  SEALED_BATCH_MAX,
  SEALED_BODY_BYTES_MAX,
  SEALED_BYTES_MAX,
  SEALED_LABELS_MAX,
  SEALED_SEQUENCE_MAX,
  type SealedHeader,
  type SealedMessage,
  type SealedPayload,
  type UnsignedMessage,
} from './channels/sealed-message.ts'
export {
  type AckStatement,
  type AckVerdict,
  ackDigest,
  ackSignatureInput,
  BatchProofs,
  batchSignatureInput,
  batchTree,
  messageDigest,
  messageSignatureInput,
  type Sha256,
} from './channels/sealed-proof.ts'
export { ListenerSet } from './concurrency/listener-set.ts'
export { ArrivingBytes, endMemory } from './connections/arriving-bytes.ts'
export { EventBlocks, visitEventFields } from './connections/event-stream.ts'
export { isConfidential, loopbackHostnames } from './connections/loopback.ts'
export { Shares } from './connections/shares.ts'
export {
  type AdminArgs,
  type AdminContract,
  type AdminOperation,
  type AdminResult,
  parseAdminAnswer,
  parseFollowedEntry,
  WATCH_OPERATION,
} from './control/admin.ts'
export type * from './control/admin-activity.ts'
export { ACTIVITY_WINDOWS } from './control/admin-activity.ts'
export type {
  AgentView,
  CreatedKey,
  EnrollArgs,
  Invitation,
  KeyCreateArgs,
  KeyView,
} from './control/admin-agents.ts'
export type { ApprovalView, DecidedApproval } from './control/admin-approvals.ts'
export type { ChannelChange, ChannelView, DeadLetterView } from './control/admin-channels.ts'
export type { BackupMade, FabricStatus, RouteView } from './control/admin-fabric.ts'
export type * from './control/admin-ledger.ts'
export { FINDABLE_RESULTS } from './control/admin-ledger.ts'
export type {
  PoliciesView,
  PolicyExplanation,
  PolicyPut,
  UnexplainedDecision,
} from './control/admin-policies.ts'
export { a2aOperations, isMcpMethod, mcpMethods } from './control/agent-operations.ts'
export {
  encodesQuery,
  isCardPath,
  isExactCardPath,
  isFileOfPage,
  isServicePath,
  type RestOperation,
  restOperation,
} from './control/agent-path.ts'
export {
  type EnrollmentBundle,
  type EnrollmentGrant,
  type EnrollmentRequest,
  enrollmentProofBytes,
  keyThumbprint,
  parseEnrollmentGrant,
  parseEnrollmentRequest,
  parseRenewalRequest,
  type RenewalRequest,
  renewalProofBytes,
  sealingProof,
} from './control/enrollment.ts'
export * from './control/exchange-holder.ts'
export {
  formatLimit,
  type Limit,
  limitShares,
  parseLimit,
  parseLimitText,
} from './control/limit.ts'
export * from './control/mesh-approval.ts'
export {
  isRefusalCode,
  isWithdrawalReason,
  mayHaveActed,
  REFUSALS,
  type RefusalCode,
  WITHDRAWALS,
  type WithdrawalReason,
} from './control/refusals.ts'
export {
  isRouteSettings,
  parseRouteSettings,
  ROUTE_BOUNDS,
  ROUTE_DEFAULTS,
  type RouteBreaker,
  type RouteReliability,
  type RouteRetries,
  type RouteSettings,
  type RouteTimeouts,
  routeOperationFault,
  routeOperationsMax,
} from './control/route-reliability.ts'
export {
  concat,
  equalBytes,
  parseBase64,
  parseBase64Url,
  parseUtf8,
  toBase64,
  toBase64Url,
  toHex,
  utf8,
} from './encoding/bytes.ts'
export { canonicalJson, type JsonValue } from './encoding/canonical.ts'
export { type CborLimits, type CborValue, decodeCbor } from './encoding/cbor.ts'
export { asciiOf } from './encoding/fold-character.ts'
export { foldedWord, withoutUnseen } from './encoding/folded-word.ts'
export * from './encoding/ids.ts'
export {
  isLegible,
  legible,
  legibleLines,
  legibleValue,
  quotedUnlessWord,
} from './encoding/legible.ts'
export { FormerFormatError, MalformedError, OverLimitError } from './encoding/malformed-error.ts'
export {
  isJsonEssence,
  type MediaType,
  parseMediaType,
  plainMediaType,
} from './encoding/media-type.ts'
export {
  isVoidSegment,
  type PathSegment,
  readPathSegments,
  undoPercent,
} from './encoding/path-segments.ts'
export { controlAt, decodePercent, isControlByte, percentFault } from './encoding/plain-text.ts'
export * from './encoding/principal.ts'
export {
  parseStrictJson,
  STRICT_JSON_DEPTH_MAX,
  STRICT_JSON_DIGITS_MAX,
  STRICT_JSON_NAMES_MAX,
  STRICT_JSON_VALUES_MAX,
  type StrictJsonLimits,
} from './encoding/strict-json.ts'
export { unverifiedClaims } from './encoding/token-claims.ts'
export * from './frames/frame.ts'
export * from './frames/frame-formats.ts'
export * from './frames/transcript.ts'
export * from './log/batch.ts'
export { endingFault } from './log/ending-fault.ts'
export { operationLengthMax, wordsLengthMax } from './log/fact-bounds.ts'
export * from './log/leaf.ts'
export * from './log/merkle.ts'
export { isOperationName, meshFactsFault } from './log/mesh-facts.ts'
export {
  encodePackedBatch,
  type MeshAgent,
  type MeshEndpoint,
  type MeshEntry,
  type MeshEntryKind,
  type MeshFact,
  type MeshRegistration,
  type MeshState,
  meshEntriesFormat,
  meshEntryOf,
  type PackedBatch,
  type PackedEntry,
  parseMeshRegistration,
  parseMeshState,
  parsePackedBatch,
} from './log/mesh-format.ts'
export {
  isMessageBatchInput,
  type SignedBase,
  signedBytesWith,
  signMessageBatch,
  verifyMessage,
} from './log/message-batch.ts'
export {
  type Checkpoint,
  cosignatureText,
  formatCheckpoint,
  formatCosignature,
  formatNote,
  formatVkey,
  type Note,
  type NoteKey,
  type NoteKeyType,
  type NoteSignature,
  noteKeyIdWith,
  noteKeyType,
  noteSignaturesMax,
  parseCheckpoint,
  parseNote,
  parseVkey,
  type Vkey,
  verifyNote,
} from './log/note.ts'
export { type Ending, type ExchangeResult, endingOf } from './log/receipt-ending.ts'
export * from './log/tile-layout.ts'
export * from './log/tile-prover.ts'
export * from './receipts/compare-checkpoints.ts'
export { type VerifiedEntry, type VerifiedReceipt, verifyReceipt } from './receipts/receipt.ts'
export {
  type Attestation,
  type Attestations,
  type AttestedEntry,
  checkLinked,
  type EntryContext,
  type Facts,
  type Half,
  type HalfContext,
  readSignedHalf,
  type SignedHalf,
  verifyEntry,
} from './receipts/receipt-attestation.ts'
export { ATTESTORS, type Attestor, isWithholdable } from './receipts/receipt-claims.ts'
export {
  createReceipt,
  type DisclosedFact,
  parseReceipt,
  RECEIPT_LEVELS,
  type Receipt,
  type ReceiptEntry,
  type ReceiptLevel,
  receiptBytesMax,
} from './receipts/receipt-document.ts'
export { RECEIPT_FAULTS, ReceiptError, type ReceiptFault } from './receipts/receipt-error.ts'
export * from './receipts/receipt-message.ts'
export {
  type AttributedFact,
  attributedFacts,
  type Source,
  sourceOf,
} from './receipts/receipt-sources.ts'
export type { StatedIn, VerifiedStatement } from './receipts/receipt-statement.ts'
export * from './receipts/receipt-words.ts'
export {
  formatTrust,
  logOrigin,
  parseSlot,
  parseTrust,
  parseTrustOfAnyForm,
  type SlotTrust,
  slotCertificate,
  slotJson,
  TRUST_VERSION,
  type Trust,
  trustFingerprint,
} from './receipts/trust.ts'
export { formatContentDigest, parseContentDigest } from './signatures/content-digest.ts'
export {
  createSignatureInput,
  draftSignature,
  formatSignedRequestHeaders,
  formatSignedResponseHeaders,
  type MessageSignature,
  parseSignatures,
  readSignedRequest,
  readSignedResponse,
  requestSignatureTag,
  responseSignatureTag,
  type SignatureInputDraft,
  type SignedMessage,
  type SignedRequest,
  type SignedResponse,
} from './signatures/http-signature.ts'
export {
  type Answer,
  batchAlgorithm,
  createSignatureBase,
  fieldValues,
  type HeaderList,
  inputOfBase,
  type MessageAlgorithm,
  messageBatchMax,
  type ParsedSignatureBase,
  parseSignatureBase,
  type SignableRequest,
  type SignableResponse,
  type SignatureParams,
} from './signatures/http-signature-base.ts'
export {
  isSignedAsStream,
  type PreparedSignature,
  type ProfileDraft,
  prepareRequestSignature,
  prepareResponseSignature,
  profileRequestComponents,
  profileResponseComponents,
  receiverHeader,
  requestProfileFault,
  responseProfileFault,
  signedMessage,
  streamedBody,
} from './signatures/http-signature-profile.ts'
export {
  certifiedKeyId,
  encodeKeyCertificate,
  formatKeyCertificate,
  KEY_CERTIFICATE_FIELD,
  type KeyCertificate,
  type KeyPurpose,
  keyCertificateFault,
  keyCertificateInput,
  keyCertificateMsMax,
  parseKeyCertificate,
  type SignedKeyCertificate,
} from './signatures/key-certificate.ts'
export { type Hash, type VerifySignature, verifyEd25519 } from './signatures/web-crypto.ts'

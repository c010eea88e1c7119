export * from './agent-operations.ts'
export * from './agent-path.ts'
export * from './arriving-bytes.ts'
export * from './bytes.ts'
export * from './canonical.ts'
export * from './cbor.ts'
export * from './channel-descriptor.ts'
export * from './channel-format.ts'
export * from './content-digest.ts'
export * from './cose.ts'
export * from './enrollment.ts'
export { operationLengthMax, wordsLengthMax } from './fact-bounds.ts'
export { asciiOf } from './fold-character.ts'
export * from './folded-word.ts'
export * from './http-signature.ts'
export * from './http-signature-base.ts'
export { formatMember } from './http-signature-fields.ts'
export * from './http-signature-profile.ts'
export * from './ids.ts'
export * from './legible.ts'
export * from './limit.ts'
export * from './malformed-error.ts'
export * from './media-type.ts'
export * from './merkle.ts'
export { isOperationName, meshFactsFault, meshTextBytesMax } from './mesh-facts.ts'
export * from './mesh-format.ts'
export * from './note.ts'
export * from './path-segments.ts'
export * from './plain-text.ts'
export * from './receipt.ts'
export * from './receipt-attestation.ts'
export {
  ATTESTORS,
  type Attestor,
  CONTENT_FACTS,
  isWithholdable,
} from './receipt-claims.ts'
export * from './receipt-document.ts'
export {
  type Ending,
  EXCHANGE_RESULTS,
  type ExchangeResult,
  endingOf,
  isExchangeResult,
} from './receipt-ending.ts'
export * from './receipt-error.ts'
export * from './receipt-message.ts'
export * from './receipt-sources.ts'
export * from './receipt-words.ts'
export * from './refusals.ts'
export * from './sealed-content.ts'
export * from './sealed-key.ts'
export * from './sealed-message.ts'
export * from './sealed-proof.ts'
export * from './shares.ts'
export * from './statement.ts'
export * from './strict-json.ts'
export * from './trust.ts'
export * from './web-crypto.ts'

import type { VerifiedReceipt } from '@countersign/protocol'
import { verify } from '@countersign/sdk'
import type { Setup } from './setup.ts'

/** One assertion, and whether it held. */
export interface Check {
  readonly says: string
  readonly ok: boolean
}

/** The result of one step. Every figure in it was measured while the step ran. */
export interface StepResult {
  readonly checks: readonly Check[]
  /** For people, in addition to the checks: a label and what was seen. */
  readonly seen: readonly (readonly [label: string, text: string])[]
  /** The same for programs. */
  readonly facts: Readonly<Record<string, unknown>>
}

export interface Step {
  readonly name: string
  readonly title: string
  /** Throws when the step could not be carried out; that is a failure as well. */
  run(setup: Setup): Promise<StepResult>
}

export interface ExpectedReceipt {
  readonly caller: string
  readonly receiver: string
  readonly result: string
}

export interface ProvenReceipt {
  readonly receipt: VerifiedReceipt
  readonly checks: readonly Check[]
  readonly seen: readonly (readonly [label: string, text: string])[]
  readonly facts: Readonly<Record<string, unknown>>
}

/**
 * Verifies a receipt offline in this process too, which did not fetch it, against the trust that
 * the operator pinned at enrolment. A copy with one bit flipped has to fail.
 */
export async function proveReceipt(
  bytes: Uint8Array,
  setup: Setup,
  expected: ExpectedReceipt,
): Promise<ProvenReceipt> {
  const { trust } = setup.operator.identity
  const receipt = await verify(bytes, trust)
  const { trustDomain, caller, receiver, result, request, response } = receipt
  const spiffeId = (name: string): string => `spiffe://${trustDomain}/agent/${name}`
  const indexes = receipt.entries.map(({ index }) => index)
  const isAbout =
    caller === spiffeId(expected.caller) &&
    (receiver === expected.receiver || receiver === spiffeId(expected.receiver)) &&
    result === expected.result
  const bit = (bytes.length * 8) >> 1
  const checks = [
    { says: 'receipt verified offline against the pinned keys', ok: true },
    { says: 'it is about this very exchange', ok: isAbout },
    { says: 'with one bit flipped it fails', ok: await failsWithBitFlipped(bytes, bit, setup) },
  ]
  const where = `entries ${indexes.join(' and ')} of ${receipt.checkpointSize}`
  const facts = {
    exchange: receipt.exchange,
    result,
    requestBy: request.by,
    responseBy: response.by,
    indexes,
    logSize: receipt.checkpointSize,
    receiptBytes: bytes.length,
  }
  const halves = `request by the ${request.by}, response by the ${response.by}`
  const seen = [
    ['receipt', `${receipt.exchange}, ${where}`],
    ['signed', halves],
  ] as const
  return { receipt, checks, seen, facts }
}

async function failsWithBitFlipped(bytes: Uint8Array, bit: number, setup: Setup): Promise<boolean> {
  const flipped = Uint8Array.from(bytes)
  const at = bit >> 3
  flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7))
  return verify(flipped, setup.operator.identity.trust).then(
    () => false,
    () => true,
  )
}

import { createPublicKey, verify } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type FactValue, toBase64, toBase64Url, utf8 } from '@countersign/protocol'
import { RefusedError } from '@countersign/sdk'
import { AGENTS, DEMO_CHANNEL } from './demo-policy.ts'
import type { Setup } from './setup.ts'
import { type ProvenReceipt, proveReceipt, type Step } from './step.ts'

const SECRET = 'Payroll for November: 41 people, 187,200 EUR in all, due on the 27th.'

/** A sealed hand-over to a receiver that is offline; the fabric cannot read it. */
export const queue: Step = {
  name: 'queue',
  title: 'support sends a sealed message while billing is down',
  async run(setup) {
    await openChannel(setup)
    const { pid } = setup.billing
    await setup.billing.stop()
    const isDown = !isRunning(pid)
    const sent = await setup.support.send('handOver', { channel: DEMO_CHANNEL, text: SECRET })
    const stored = await searchStored(join(setup.dataDir, 'channels'))
    await setup.restartBilling()
    const collected = await setup.billing.send('collect', DEMO_CHANNEL)
    const handed = await proveHandOver(setup, sent.exchange)
    const settled = await proveSettlement(setup)
    return {
      checks: [
        { says: 'billing’s process was gone when support sent', ok: isDown },
        {
          says: 'what the fabric stored is this channel’s, and holds no plaintext',
          ok: stored.sealed,
        },
        { says: 'billing opened it once it was back', ok: collected.text === SECRET },
        { says: 'the sender was proved, not claimed', ok: collected.sender === AGENTS.support },
        { says: 'billing countersigned the acknowledgement', ok: settled.countersigned },
        ...handed.checks.map(({ says, ok }) => ({ says: `hand-over: ${says}`, ok })),
        ...settled.proof.checks.map(({ says, ok }) => ({ says: `acknowledgement: ${says}`, ok })),
      ],
      seen: [
        ['sent', `${sent.messageId}, at offset ${sent.offset}`],
        ['stored', `${stored.bytes} bytes on disk, searched for the text in three encodings`],
        ['opened', `“${collected.text}” from ${collected.sender}, attempt ${collected.attempt}`],
        ...handed.seen,
        ...settled.proof.seen.map(([label, text]) => [`ack ${label}`, text] as const),
      ],
      facts: {
        ...handed.facts,
        messageId: sent.messageId,
        storedBytes: stored.bytes,
        plaintextFound: !stored.sealed,
        sender: collected.sender,
        attempt: collected.attempt,
        acknowledgement: settled.proof.facts,
      },
    }
  },
}

const members = [AGENTS.support, AGENTS.billing]

/** A channel of an earlier run is used again, with the agents as they are enrolled now. */
async function openChannel({ operator }: Setup): Promise<void> {
  try {
    await operator.admin('channel.create', { name: DEMO_CHANNEL, members })
  } catch (error) {
    if (!(error instanceof RefusedError) || error.code !== 'IDEMPOTENCY_CONFLICT') throw error
    await operator.admin('channel.members', { name: DEMO_CHANNEL, members })
  }
}

function isRunning(pid: number): boolean {
  try {
    // Signal 0 asks without doing anything.
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Bounds the search; a channel store that is larger was not filled by the demo alone. */
const searchedBytesMax = 256 * 1024 * 1024

/**
 * Looks for the text in every file of the channel store, as it is and as base64 would show it. The
 * channel's own name, which is not secret, proves that the search looks into the right place.
 */
async function searchStored(dir: string): Promise<{ sealed: boolean; bytes: number }> {
  const files = await readdir(dir, { recursive: true })
  let bytes = 0
  let isThere = false
  let isFound = false
  for (const file of files) {
    const path = join(dir, file)
    const { size } = await stat(path)
    if (bytes + size > searchedBytesMax) throw new RangeError(`${dir} is too large to search`)
    const content = await readFile(path).catch(() => Buffer.alloc(0))
    bytes += content.length
    isThere ||= content.includes(DEMO_CHANNEL)
    isFound ||= traces.some((trace) => content.includes(trace))
  }
  return { sealed: isThere && !isFound, bytes }
}

const plain = utf8(SECRET)
/** Without its end, whose base64 depends on what follows. */
const traces = [
  Buffer.from(plain),
  Buffer.from(toBase64(plain).slice(0, -4)),
  Buffer.from(Buffer.from(plain).toString('hex')),
]

async function proveHandOver(setup: Setup, exchange: string): Promise<ProvenReceipt> {
  const bytes = await setup.support.send('fetchReceipt', exchange)
  const expected = { caller: AGENTS.support, receiver: DEMO_CHANNEL, result: 'delivered' }
  return proveReceipt(bytes, setup, expected)
}

/** The number of newest exchanges that are searched for billing's acknowledgement. */
const recentMax = 50

async function proveSettlement(
  setup: Setup,
): Promise<{ readonly proof: ProvenReceipt; readonly countersigned: boolean }> {
  const { exchanges } = await setup.operator.admin('ledger.recent', { countMax: recentMax })
  const settling = exchanges.find(
    ({ caller, facts }) => caller === AGENTS.billing && facts['operation'] === 'settle',
  )
  if (settling === undefined) throw new Error('no acknowledgement is on record')
  const bytes = await setup.billing.send('fetchReceipt', settling.exchange)
  const expected = { caller: AGENTS.billing, receiver: DEMO_CHANNEL, result: 'delivered' }
  const proof = await proveReceipt(bytes, setup, expected)
  const { receipt } = proof
  const facts = receipt.entries.at(-1)?.facts ?? {}
  const key = receipt.request.signature?.publicKey
  return { proof, countersigned: key !== undefined && countersigns(key, facts) }
}

/** Billing's own signature over what it settled, checked with the key that signed the request. */
function countersigns(key: Uint8Array, facts: Readonly<Record<string, FactValue>>): boolean {
  const signed = facts['ack.countersigned']
  const signature = facts['ack.countersignature']
  if (!(signed instanceof Uint8Array) || !(signature instanceof Uint8Array)) return false
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(key) }
  return verify(null, signed, createPublicKey({ key: jwk, format: 'jwk' }), signature)
}

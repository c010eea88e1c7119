import {
  type JsonValue,
  parseSlot,
  parseStrictJson,
  type SlotTrust,
  slotCertificate,
  slotJson,
  TRUST_VERSION,
  toBase64,
  trustFingerprint,
} from '@countersign/protocol'
import type { CounterPeers } from '../adapters/redis/agreed-counters.ts'
import { createOtherSlots, type OtherSlots, type SlotHolder } from '../ledger/other-slots.ts'
import { OWN_COUNTERS } from './counters.ts'
import type { LogSlot } from './log-slot.ts'
import type { Environment, Stores } from './stores.ts'

/** The note that the holder of a log slot publishes with its lease. */
interface SlotNote {
  /** `https://host:port`, by which others reach the holder; empty before it listens. */
  readonly address: string
  /** As `countersName` returns it: holders with one name accept a request once. */
  readonly counters: string
  /** Of the server of its counters, as `Counters.marker` returns it. */
  readonly marker: string
  readonly slot: SlotTrust
}

type Certified = Pick<Stores, 'identity' | 'keys' | 'ledger'>

/** The note of this process, with a certificate over the key of its log. */
export async function slotNote(
  { identity, keys, ledger, counters }: Certified & Pick<Stores, 'counters'>,
  address: string,
): Promise<string> {
  const slot = { slot: ledger.slot, origin: ledger.origin, vkey: ledger.vkey }
  const signature = await keys.slots.sign(slotCertificate(identity.trustDomain, slot))
  const { name, marker } = counters
  const used = { counters: name, marker: marker() }
  return JSON.stringify({ address, ...used, slot: slotJson({ ...slot, signature }) })
}

/** Null for the note of a process that has not certified its log yet. */
function parseNote(note: string): SlotNote | null {
  if (note === '') return null
  const members = parseStrictJson(note) as { readonly [name: string]: JsonValue }
  const text = (name: 'address' | 'counters' | 'marker'): string => {
    const value = members[name]
    if (typeof value === 'string') return value
    throw new Error(`a log slot has a malformed note: ${name} is not text`)
  }
  const { slot } = members
  if (slot === undefined) throw new Error('a log slot has a note without its keys')
  return {
    address: text('address'),
    counters: text('counters'),
    marker: text('marker'),
    slot: parseSlot(slot),
  }
}

/**
 * Rejects while a process with other counters serves the same state: a signed request would be
 * accepted once at each. Asked when this process has published its own, so that of two that start
 * together, one sees the other.
 */
export async function assertSameCounters(
  { name, slots }: Pick<LogSlot, 'name' | 'slots'>,
  counters: string,
): Promise<void> {
  for (const row of await slots()) {
    const other = row.isHeld && row.name !== name ? parseNote(row.note) : null
    if (other === null || (other.counters === counters && counters !== OWN_COUNTERS)) continue
    throw new Error(
      `the process of log slot ${row.name} has the counters ${other.counters}, and this one ${counters}, so that a signed request would be accepted once at each: set engines.counters of both to one Redis`,
    )
  }
}

/** Publishes the note of this process. Rejects while one with other counters runs. */
export async function joinReplicas(
  stores: Certified & Pick<Stores, 'counters' | 'slot'>,
  origin: () => string,
): Promise<void> {
  const { slot, counters } = stores
  const peers: CounterPeers = {
    publish: async () => slot.lease.publish(await slotNote(stores, origin())),
    async slotWith(marker) {
      const others = (await slot.slots()).filter(({ name, isHeld }) => isHeld && name !== slot.name)
      return others.find(({ note }) => parseNote(note)?.marker === marker)?.name ?? null
    },
  }
  await peers.publish()
  await assertSameCounters(slot, counters.name)
  await counters.join(peers)
}

/** Every log of the fabric, by slot; also of slots that no process holds now. */
async function certifiedSlots({ slot }: Pick<Stores, 'slot'>): Promise<readonly SlotTrust[]> {
  const notes = (await slot.slots()).map(({ note }) => parseNote(note))
  return notes.flatMap((note) => (note === null ? [] : [note.slot]))
}

/** The holder of each slot that was ever taken, by name. */
export async function listSlotHolders({
  slot,
}: Pick<Stores, 'slot'>): Promise<readonly SlotHolder[]> {
  return (await slot.slots()).map(({ name, isHeld, note }) => ({
    ...{ slot: name, isHeld, address: parseNote(note)?.address ?? '' },
  }))
}

export function composeOtherSlots(
  { clock }: Pick<Environment, 'clock'>,
  stores: Pick<Stores, 'slot'>,
  origin: () => string,
): OtherSlots {
  return createOtherSlots({
    ...{ slot: stores.slot.name, origin, monotonic: () => clock.monotonic() },
    listHolders: () => listSlotHolders(stores),
  })
}

/** The document of `GET /v1/trust`. */
export async function trustDocument(stores: Stores): Promise<string> {
  const { identity, keys } = stores
  const { trustDomain, bundles } = identity
  return JSON.stringify({
    v: TRUST_VERSION,
    trustDomain,
    bundle: (bundles.find(trustDomain)?.roots ?? []).map((root) => toBase64(root)),
    slotKey: toBase64(keys.slots.publicKey),
    slots: (await certifiedSlots(stores)).map(slotJson),
    fabricKey: { keyId: keys.fabric.keyId, publicKey: toBase64(keys.fabric.publicKey) },
    enrollmentKey: toBase64(identity.enrollmentKey),
  })
}

/** The same for as long as the fabric lives: roots and logs can be added, and no key changes. */
export function fingerprintOf({ identity, keys }: Stores): Promise<string> {
  return trustFingerprint({
    trustDomain: identity.trustDomain,
    fabricKey: keys.fabric.publicKey,
    slotKey: keys.slots.publicKey,
  })
}

import type { HeadStore, LoadedHead, StoredHead } from '../../ledger/store.ts'
import { crc32c } from '../../lib/crc32c.ts'
import type { DurableFile, FileLayer } from '../../lib/durable-file.ts'
import { otherFormat } from '../data-format.ts'

/**
 * Two slots of a page each, written in turn and in place: no metadata changes, so the sync costs
 * one write, and no disk tears two pages with one. A slot is `magic(4) ‖ uint64 sequence ‖ uint64
 * size ‖ uint64 time ‖ uint16 length ‖ checkpoint ‖ zeros ‖ CRC-32C(4)`.
 */
const slotBytes = 4096
const magic = 0x43_53_48_34
/** Of earlier formats: of 1, where ids of exchanges begin with `dec_`, of 2 and of 3. */
const formerFormats: ReadonlyMap<number, number> = new Map([
  [0x43_53_48_44, 1],
  [0x43_53_48_32, 2],
  [0x43_53_48_33, 3],
])
const fixedBytes = 30
const checkpointBytesMax = slotBytes - fixedBytes - 4

interface Slot {
  readonly sequence: number
  readonly head: StoredHead
}

export class FileHeadStore implements HeadStore {
  readonly #files: FileLayer
  readonly #directory: string
  #file: DurableFile | null = null
  /** The newest valid slot and where it stands; the next goes to the other place. */
  #newest: (Slot & { readonly place: 0 | 1 }) | null = null

  constructor(files: FileLayer, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  async load(): Promise<LoadedHead | null> {
    this.#file ??= await this.#files.open(this.#path, 'update')
    if (this.#file === null) return null
    await this.#file.sync()
    await this.#files.syncDirectory(this.#directory)
    const slots = [await readSlot(this.#file, 0), await readSlot(this.#file, 1)] as const
    const [first, second] = slots
    const place = (second?.sequence ?? -1) > (first?.sequence ?? -1) ? 1 : 0
    const newest = slots[place]
    if (newest === null) throw new Error('no copy of the stored head is readable')
    this.#newest = { ...newest, place }
    return { head: newest.head, intact: first !== null && second !== null }
  }

  async swap(previousSize: number | null, next: StoredHead): Promise<void> {
    const current = this.#newest
    if ((current?.head.size ?? null) !== previousSize) {
      throw new Error('the stored head is not the one to be replaced')
    }
    if (current === null || this.#file === null) return this.#create(next)
    const place = current.place === 0 ? 1 : 0
    const slot = { sequence: current.sequence + 1, head: next }
    await this.#file.write(place * slotBytes, encodeSlot(slot))
    await this.#file.sync()
    this.#newest = { ...slot, place }
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = null
    await file?.close()
  }

  get #path(): string {
    return `${this.#directory}/head`
  }

  /** Under another name first: a crash leaves no head store, or a whole one. */
  async #create(head: StoredHead): Promise<void> {
    const temporary = `${this.#path}.new`
    const file = await this.#files.open(temporary, 'create')
    await file.write(0, encodeSlot({ sequence: 0, head }))
    await file.write(slotBytes, encodeSlot({ sequence: 1, head }))
    await file.sync()
    await this.#files.rename(temporary, this.#path)
    await this.#files.syncDirectory(this.#directory)
    this.#file = file
    this.#newest = { sequence: 1, head, place: 1 }
  }
}

function encodeSlot({ sequence, head }: Slot): Buffer {
  const checkpoint = Buffer.from(head.checkpoint)
  if (checkpoint.length > checkpointBytesMax) throw new RangeError('the checkpoint is too long')
  const bytes = Buffer.alloc(slotBytes)
  let at = bytes.writeUInt32BE(magic, 0)
  at = bytes.writeBigUInt64BE(BigInt(sequence), at)
  at = bytes.writeBigUInt64BE(BigInt(head.size), at)
  at = bytes.writeBigUInt64BE(BigInt(head.at), at)
  at = bytes.writeUInt16BE(checkpoint.length, at)
  bytes.set(checkpoint, at)
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, slotBytes - 4)), slotBytes - 4)
  return bytes
}

async function readSlot(file: DurableFile, place: 0 | 1): Promise<Slot | null> {
  const read = await file.read(place * slotBytes, slotBytes)
  if (read.length !== slotBytes) return null
  const bytes = Buffer.from(read)
  const kind = bytes.readUInt32BE(0)
  const former = formerFormats.get(kind)
  if (kind !== magic && former === undefined) return null
  if (crc32c(bytes.subarray(0, slotBytes - 4)) !== bytes.readUInt32BE(slotBytes - 4)) return null
  // In either slot, and whatever the other holds: no entry of this format follows such a head.
  if (former !== undefined) throw otherFormat('the ledger', former)
  const length = bytes.readUInt16BE(fixedBytes - 2)
  return {
    sequence: Number(bytes.readBigUInt64BE(4)),
    head: {
      size: Number(bytes.readBigUInt64BE(12)),
      at: Number(bytes.readBigUInt64BE(20)),
      checkpoint: bytes.toString('utf8', fixedBytes, fixedBytes + length),
    },
  }
}

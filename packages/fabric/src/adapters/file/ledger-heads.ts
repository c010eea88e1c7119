import { Serializer } from '../../concurrency/serializer.ts'
import type { HeadStore, LoadedHead, StoredHead } from '../../ledger/store.ts'
import { crc32c } from '../../lib/crc32c.ts'
import type { DurableFile, FileLayer } from '../../lib/durable-file.ts'
import { otherFormat } from '../data-format.ts'

/**
 * Two slots of a page each, written in place: no metadata changes, so the sync costs one write, and
 * no disk tears two pages with one. A head goes to the slot that the last sync did not cover, again
 * and again until the next sync: a crash may tear that slot, and leaves the other one whole. A slot
 * is `magic(4) ‖ uint64 sequence ‖ uint64 size ‖ uint64 time ‖ uint16 length ‖ checkpoint ‖
 * zeros ‖ CRC-32C(4)`.
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

type Place = 0 | 1

interface Slot {
  readonly sequence: number
  readonly head: StoredHead
}

export class FileHeadStore implements HeadStore {
  readonly #files: FileLayer
  readonly #directory: string
  /** A write during a sync would leave open which of the two heads that sync has covered. */
  readonly #turns = new Serializer()
  #file: DurableFile | null = null
  /** The newest head and where it stands. */
  #newest: (Slot & { readonly place: Place }) | null = null
  /** The slot that the last sync covered: never written. */
  #synced: Place = 0

  constructor(files: FileLayer, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  load(): Promise<LoadedHead | null> {
    return this.#turns.run(async () => {
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
      this.#synced = place
      return { head: newest.head, intact: first !== null && second !== null }
    })
  }

  replace(previousSize: number | null, next: StoredHead): Promise<void> {
    return this.#turns.run(async () => {
      this.#assertNewest(previousSize)
      await this.#create(next)
    })
  }

  /** Replaces the head of `previousSize`; it may be lost until `sync` resolves. */
  write(previousSize: number, next: StoredHead): Promise<void> {
    return this.#turns.run(async () => {
      const { newest, file } = this.#assertNewest(previousSize)
      if (newest === null || file === null) throw new Error('no head was stored yet')
      const place = this.#synced === 0 ? 1 : 0
      const slot = { sequence: newest.sequence + 1, head: next }
      await file.write(place * slotBytes, encodeSlot(slot))
      this.#newest = { ...slot, place }
    })
  }

  sync(): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#newest === null || this.#newest.place === this.#synced) return
      await this.#file?.sync()
      this.#synced = this.#newest.place
    })
  }

  close(): Promise<void> {
    return this.#turns.run(async () => {
      const file = this.#file
      this.#file = null
      await file?.close()
    })
  }

  get #path(): string {
    return `${this.#directory}/head`
  }

  #assertNewest(size: number | null) {
    const newest = this.#newest
    if ((newest?.head.size ?? null) !== size) {
      throw new Error('the stored head is not the one to be replaced')
    }
    return { newest, file: this.#file }
  }

  /** Under another name first: a crash leaves the head store as it was, or a whole one. */
  async #create(head: StoredHead): Promise<void> {
    const temporary = `${this.#path}.new`
    const file = await this.#files.open(temporary, 'create')
    await file.write(0, encodeSlot({ sequence: 0, head }))
    await file.write(slotBytes, encodeSlot({ sequence: 1, head }))
    await file.sync()
    await this.#files.rename(temporary, this.#path)
    await this.#files.syncDirectory(this.#directory)
    await this.#file?.close()
    this.#file = file
    this.#newest = { sequence: 1, head, place: 1 }
    this.#synced = 1
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

async function readSlot(file: DurableFile, place: Place): Promise<Slot | null> {
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

import type { SubjectStore } from '../../ledger/store.ts'
import { type DurableFile, type FileLayer, readWhole } from '../../lib/durable-file.ts'

/** As many principals as a log may name fit, with names of 2 KiB. */
const fileBytesMax = 512 * 1024 * 1024

/** `subjects`, next to the head. One caller at a time. */
export class FileSubjectStore implements SubjectStore {
  readonly #files: FileLayer
  readonly #directory: string
  #file: DurableFile | null = null

  constructor(files: FileLayer, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  async read(): Promise<Uint8Array | null> {
    this.#file ??= await this.#files.open(this.#path, 'update')
    return this.#file === null ? null : readWhole(this.#file, this.#path, fileBytesMax)
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    await this.#opened.write(position, bytes)
  }

  async sync(): Promise<void> {
    await this.#opened.sync()
  }

  async replace(bytes: Uint8Array): Promise<void> {
    const temporary = `${this.#path}.new`
    const file = await this.#files.open(temporary, 'create')
    await file.write(0, bytes)
    await file.sync()
    await this.#files.rename(temporary, this.#path)
    await this.#files.syncDirectory(this.#directory)
    const before = this.#file
    this.#file = file
    await before?.close()
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = null
    await file?.close()
  }

  get #opened(): DurableFile {
    if (this.#file === null) throw new Error('the subjects file is not open')
    return this.#file
  }

  get #path(): string {
    return `${this.#directory}/subjects`
  }
}

/** Progress of each pattern; `inUse` has a bit for each nonzero word. */
export class Progress {
  readonly at: Int32Array
  inUse = 0

  constructor(words: number) {
    this.at = new Int32Array(words)
  }

  clear(): void {
    for (let left = this.inUse; left !== 0; left &= left - 1) this.at[lowestOf(left)] = 0
    this.inUse = 0
  }

  set({ at, inUse }: Progress): void {
    for (let left = this.inUse | inUse; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      this.at[i] = at[i] as number
    }
    this.inUse = inUse
  }

  /** Adds what `mask` leaves out. */
  addApart({ at, inUse }: Progress, mask: Int32Array): void {
    for (let left = inUse; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      const apart = (at[i] as number) & ~(mask[i] as number)
      if (apart === 0) continue
      ;(this.at[i] as number) |= apart
      this.inUse |= 1 << i
    }
  }

  add({ at, inUse }: Progress): void {
    for (let left = inUse; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      ;(this.at[i] as number) |= at[i] as number
    }
    this.inUse |= inUse
  }
}

/** The number of the lowest bit. */
export function lowestOf(bits: number): number {
  return 31 - Math.clz32(bits & -bits)
}

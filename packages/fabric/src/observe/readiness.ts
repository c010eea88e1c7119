/** One condition under which a process can do its work. */
export interface Check {
  readonly name: string
  /** A new start is the one cure when it does not hold: then no watchdog is fed any more. */
  readonly isVital?: boolean
  /** Returns why it does not hold, in one line; null while it holds. Must cost nothing. */
  readonly fault: () => string | null
}

export interface NotReady {
  readonly name: string
  readonly fault: string
}

/**
 * Reports whether callers should be sent here. A process is not ready while it starts and while it
 * stops.
 */
export class Readiness {
  readonly #checks: Check[] = []
  #phase: 'starting' | 'serving' | 'stopping' = 'starting'

  get phase(): 'starting' | 'serving' | 'stopping' {
    return this.#phase
  }

  enter(phase: 'serving' | 'stopping'): void {
    this.#phase = phase
  }

  add(check: Check): void {
    this.#checks.push(check)
  }

  /**
   * Reports whether a watchdog is to be fed: a process that cannot recover by itself is not alive.
   */
  isAlive(): boolean {
    return this.#checks.every(({ isVital = false, fault }) => !isVital || fault() === null)
  }

  /** Everything that is not ready, by name; empty when callers should come. */
  faults(): readonly NotReady[] {
    if (this.#phase !== 'serving') return [{ name: 'process', fault: `it is ${this.#phase}` }]
    return this.#checks.flatMap(({ name, fault }) => {
      const found = fault()
      return found === null ? [] : [{ name, fault: found }]
    })
  }
}

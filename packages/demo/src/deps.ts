import type { AdminArgs, AdminOperation, AdminResult } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'

/** Everything that the demo needs from the server. The command line passes it to `runDemo`. */
export interface DemoDeps {
  /** The running fabric: its origin, its data folder, and its operator. */
  readonly origin: string
  readonly dataDir: string
  readonly operator: Operator
  readonly openConnector: (options: DemoConnectorOptions) => Promise<DemoConnector>
  readonly clock: DemoClock
  readonly terminal: DemoTerminal
  /** Print one JSON document a line, for programs. */
  readonly json: boolean
  /** False when the fabric ends with the demo; the next steps then begin with starting one. */
  readonly keepsRunning: boolean
}

/** Administration of the fabric, and the identity whose pinned trust receipts are verified with. */
export interface Operator {
  readonly identity: Identity
  /** Sends one administrative operation; resolves with its result. */
  admin<Name extends AdminOperation>(
    operation: Name,
    args: AdminArgs<Name>,
  ): Promise<AdminResult<Name>>
}

export interface DemoConnectorOptions {
  readonly identity: Identity
  /** The URL at which the agent listens; null for an agent that only calls others. */
  readonly expose: string | null
  readonly protocol: 'auto' | 'mcp'
}

export interface DemoConnector {
  /** The URL at which the agent calls others. */
  readonly loopbackUrl: string
  close(): Promise<unknown>
}

/** The clock of the server: wall-clock time in Unix milliseconds, and monotonic milliseconds. */
export interface DemoClock {
  now(): number
  monotonic(): number
}

export type DemoStyle = 'bold' | 'dim' | 'red' | 'green'

/** The standard output of the command line. */
export interface DemoTerminal {
  readonly paint: (style: DemoStyle, text: string) => string
  /** Prints lines; `whole` ones are not broken at the width of the terminal. */
  readonly print: (text: string | { readonly whole: string }) => void
  readonly progress: (text: string) => { stop(): void }
}

/**
 * The commands that the demo sends to the process of an agent: one command, one result, over the
 * channel that comes with a child process. None of it crosses the fabric.
 */
export type Commands = { readonly [name: string]: (args: never) => Promise<unknown> }

export interface Command {
  readonly id: number
  readonly name: string
  readonly args: unknown
}

export type CommandResult =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly fault: string }

/** Runs the commands that the parent process sends, and ends when the parent process ends. */
export function serveCommands(commands: Commands): void {
  process.on('message', (message: Command) => {
    run(commands, message)
      .then((result) => process.send?.(result))
      .catch(() => process.exit(1))
  })
  // A parent that was killed closes the channel too, so no agent is left behind.
  process.once('disconnect', () => process.exit(0))
}

async function run(commands: Commands, { id, name, args }: Command): Promise<CommandResult> {
  const known = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (known === undefined) return { id, fault: `there is no command ${name}` }
  try {
    return { id, value: await known(args as never) }
  } catch (error) {
    return { id, fault: error instanceof Error ? error.message : String(error) }
  }
}

import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addActivityCommand } from './commands/activity.ts'
import { addAgentCommands } from './commands/agent.ts'
import { addApprovalCommands } from './commands/approval.ts'
import { addBackupCommand } from './commands/backup.ts'
import { addChannelCommands } from './commands/channel.ts'
import { addConnectCommand } from './commands/connect.ts'
import { addConsoleCommand } from './commands/console.ts'
import { addDemoCommand } from './commands/demo.ts'
import { addDoctorCommand } from './commands/doctor.ts'
import { addEraseCommand } from './commands/erase.ts'
import { addKeyCommands } from './commands/key.ts'
import { addLedgerCommands } from './commands/ledger.ts'
import { addPolicyCommands } from './commands/policy.ts'
import { addProtectCommand } from './commands/protect.ts'
import { addReceiptCommand } from './commands/receipt.ts'
import { addRestoreCommand } from './commands/restore.ts'
import { addRouteCommands } from './commands/route.ts'
import { addStatusCommand } from './commands/status.ts'
import { addTokenCommand } from './commands/token.ts'
import { addUpCommand } from './commands/up.ts'
import { addVerifyCommand } from './commands/verify.ts'
import type { CliContext } from './context.ts'
import { EXIT_CODES } from './exit-codes.ts'

/** The whole command line. Nothing is read or opened before a command is carried out. */
export function createProgram(context: CliContext): Command {
  const { terminal } = context
  const program = new Command('countersign')
    .description('A zero-trust fabric for the traffic between AI agents.')
    .version(ownVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.print(text.trimEnd()),
      writeErr: (text) => terminal.note(text.trimEnd()),
      // Reported once, with a next step, where every other failure is reported.
      outputError: () => undefined,
    })
    .configureHelp({ styleTitle: (title) => terminal.paint('bold', title) })
  program.commandsGroup('Run')
  addUpCommand(program, context)
  addDemoCommand(program, context)
  addProtectCommand(program, context)
  addConnectCommand(program, context)
  program.commandsGroup('Administer a running fabric')
  addStatusCommand(program, context)
  addActivityCommand(program, context)
  addAgentCommands(program, context)
  addKeyCommands(program, context)
  addApprovalCommands(program, context)
  addConsoleCommand(program, context)
  addRouteCommands(program, context)
  addPolicyCommands(program, context)
  addChannelCommands(program, context)
  addLedgerCommands(program, context)
  addEraseCommand(program, context)
  program.commandsGroup('Prove and look after')
  addBackupCommand(program, context)
  addRestoreCommand(program, context)
  addReceiptCommand(program, context)
  addVerifyCommand(program, context)
  addTokenCommand(program, context)
  addDoctorCommand(program, context)
  addHelpCommand(program, context)
  return program
}

function addHelpCommand(program: Command, { terminal }: CliContext): void {
  program
    .command('help [command...]')
    .description('show help for a command, or `help exit-codes`')
    .action((words: readonly string[]) => {
      if (words[0] === 'exit-codes') {
        terminal.print(formatExitCodes(terminal.table))
        return
      }
      let command = program
      for (const word of words) {
        const found = command.commands.find((each) => matches(each, word))
        if (found === undefined) program.error(`there is no command ${words.join(' ')}`)
        command = found
      }
      command.outputHelp()
    })
}

function matches(command: Command, word: string): boolean {
  return command.name() === word || command.aliases().includes(word)
}

function formatExitCodes(table: CliContext['terminal']['table']): string {
  return table({
    columns: [{ title: 'code', align: 'right' }, { title: 'means' }],
    rows: EXIT_CODES.map(({ code, means }) => [code, means]),
  })
}

/** The package's own manifest, found from the sources and from the built package alike. */
function ownVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { readonly version?: unknown }
  return String(version)
}

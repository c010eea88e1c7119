import { FINDABLE_RESULTS, type LedgerFindArgs, REFUSALS } from '@countersign/protocol'
import { RefusedError } from '@countersign/sdk'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { nearest } from '../../lib/nearest.ts'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { collectPages, showExchanges } from '../exchange-pages.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure, toFailure } from '../failure.ts'
import { parseCount, parsePrincipalName, parseSeconds, parseTime } from '../option-values.ts'
import { explainPruned } from '../pruned-cursor.ts'

type Conditions = Omit<LedgerFindArgs, 'countMax' | 'before' | 'after' | 'since' | 'until'>

interface FindOptions extends ClientOptions, Conditions {
  readonly since?: MomentOption
  readonly until?: MomentOption
  readonly limit: number
  readonly cursor?: string
}

/** A time, or how long ago. */
type MomentOption = { readonly at: number } | { readonly agoMs: number }

export function addFindCommand(ledger: Command, context: CliContext): void {
  const find = ledger
    .command('find')
    .description('exchanges that meet all that is given, newest last')
    .option('--caller <name>', 'who called, or the agent that administration is about', principal)
    .option('--user <name>', 'the user on whose behalf', principal)
    .option('--receiver <name>', 'agent, channel, or fabric', parseSought)
    .option('--operation <name>', 'such as tools/call, or an event such as enrolled', parseSought)
    .option('--tool <name>', 'the tool that was called', parseSought)
    .addOption(
      new Option('--result <result>', 'how it ended; open: under way').choices(FINDABLE_RESULTS),
    )
    .option('--code <code>', 'the refusal code', parseCode)
    .option('--since <time>', 'begun at this time or later; 2h is two hours ago', parseMoment)
    .option('--until <time>', 'begun at this time or earlier', parseMoment)
    .option('--limit <number>', 'how many', parseCount, 20)
    .option('--cursor <cursor>', 'go on to older ones from where an answer ended')
  addClientOptions(find).action((options: FindOptions) => findExchanges(context, options))
}

async function findExchanges(context: CliContext, options: FindOptions): Promise<void> {
  const { caller, user, receiver, operation, tool, result, code } = options
  const output = outputOf(context, options)
  const now = context.clock.now()
  const conditions = {
    ...{ caller, user, receiver, operation, tool, result, code },
    ...{ since: momentOf(options.since, now), until: momentOf(options.until, now) },
  }
  await withFabric(context, options, async (fabric) => {
    const progress = output.progress('Searching the ledger')
    const page = await collectPages(options.limit, { before: options.cursor }, (part) =>
      fabric
        .admin('ledger.find', { ...conditions, ...part })
        .catch(explained(conditions))
        .catch(explainPruned(fabric, (cursor) => `the first that is left: --cursor ${cursor}`)),
    ).finally(() => progress.stop())
    showExchanges(output, page, '--cursor')
  })
}

/** The code is that of every name that is not in the directory; here none of them is a receiver. */
const explained =
  ({ caller, user }: Conditions) =>
  (error: unknown): Promise<never> => {
    if (!(error instanceof RefusedError) || error.code !== 'RECEIVER_UNKNOWN') {
      return Promise.reject(error)
    }
    const { exit, next } = toFailure(error)
    const names = [caller, user].filter((name) => name !== undefined).join(' or ')
    return Promise.reject(new Failure(exit, `no agent or user is named ${names}`, next))
  }

function momentOf(moment: MomentOption | undefined, now: number): number | undefined {
  if (moment === undefined) return undefined
  return 'at' in moment ? moment.at : Math.max(0, now - moment.agoMs)
}

const principal = parsePrincipalName

/** `2026-11-29T03:00:00Z`, or `2h` for two hours ago. */
export function parseMoment(text: string): MomentOption {
  if (/^\d{1,9}[smhd]$/.test(text)) return { agoMs: parseSeconds(text) * 1000 }
  try {
    return { at: parseTime(text) }
  } catch {
    throw new InvalidArgumentError(
      'A time is written as 2026-11-29T03:00:00Z, or as 15m, 2h or 7d for as long ago.',
    )
  }
}

function parseCode(text: string): string {
  if (Object.hasOwn(REFUSALS, text)) return text
  const meant = nearest(text, Object.keys(REFUSALS))
  const next = meant === null ? 'docs/refusals.md lists all codes.' : `Did you mean ${meant}?`
  throw new InvalidArgumentError(`No refusal has this code. ${next}`)
}

function parseSought(text: string): string {
  if (text !== '' && text.length <= 65_536) return text
  throw new InvalidArgumentError('A name is expected.')
}

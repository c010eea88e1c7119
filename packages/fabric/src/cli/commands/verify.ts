import { join } from 'node:path'
import {
  attributedFacts,
  compareMessage,
  FormerFormatError,
  type Half,
  isMatch,
  type MessageMatch,
  parseTrustOfAnyForm,
  receiptBytesMax,
  type Trust,
  trustFingerprint,
  type VerifiedReceipt,
} from '@countersign/protocol'
import type { Command } from 'commander'
import { readNamed, UnusableFile } from '../../lib/named-path.ts'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { DATA_FILES, findDataFolder } from '../data-folder.ts'
import { Failure, toFailure } from '../failure.ts'
import { comparePublished, readLogCa } from '../log-comparison.ts'
import { readStdin } from '../stdin.ts'
import { formatVerification, isPublished, verifyInSteps } from '../verification.ts'

interface VerifyOptions extends CommonOptions {
  readonly trust?: string
  readonly request?: string
  readonly response?: string
  readonly log?: string
  readonly ca?: string
}

export function addVerifyCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('verify')
      .argument('<receipt>', 'a receipt file, or - for stdin')
      .description('verify a receipt offline; ends with 1 when anything about it is wrong')
      .option(
        '--trust <file>',
        'the pinned trust; without it that of the data folder that is named',
      )
      .option(
        '--request <file>',
        'the body of the request, to be compared with the recorded digest',
      )
      .option('--response <file>', 'the body of the response, as `--request`')
      .option('--log <log>', 'the log that is to have it: a folder, or https://<host>/log/')
      .option('--ca <file>', 'the root certificate of the server that has the log'),
  ).action(async (file: string, options: VerifyOptions) => {
    const output = outputOf(context, options)
    const trust = readTrustFile(trustPath(context, options))
    const bytes = await readReceipt(file)
    const verification = await verifyInSteps(bytes, trust)
    const { failure, steps, verified } = verification
    const matches = verified === null ? [] : await compareFiles(verified, options)
    const published =
      verified === null || options.log === undefined
        ? null
        : await comparePublished(bytes, trust, options.log, () => readLogCa(context, options))
    const isIn = published === null || isPublished(published)
    const ok = verified !== null && matches.every(({ match }) => isMatch(match)) && isIn
    if (!ok) context.end('no')
    const shown = { trustFingerprint: await trustFingerprint(trust), matches, published }
    const sources = verified === null ? [] : attributedFacts(verified)
    output.show({ ok, failure, steps, receipt: verified, sources, ...shown }, () =>
      formatVerification(verification, shown, output.terminal),
    )
  })
}

/** Of a message whose body is compared; a fabric takes less of one. */
const messageBytesMax = 1024 * 1024 * 1024
/** Roots and keys of a fabric. */
const trustBytesMax = 16 * 1024 * 1024

async function compareFiles(receipt: VerifiedReceipt, options: VerifyOptions) {
  const matches: { readonly half: Half; readonly match: MessageMatch }[] = []
  for (const half of ['request', 'response'] as const) {
    const file = options[half]
    if (file === undefined) continue
    const body = readNamed(file, messageBytesMax)
    matches.push({ half, match: await compareMessage(receipt, half, body) })
  }
  return matches
}

/**
 * The trust file that was named, or that of a data folder that was named. Never a file that happens
 * to lie in the current folder: receipts come as files, and their sender could send a trust file
 * along.
 */
export function trustPath(
  context: CliContext,
  options: CommonOptions & { readonly trust?: string },
): string {
  if (options.trust !== undefined) return options.trust
  const { dataDir, configPath } = context.environment
  const named = options.data ?? options.config ?? dataDir ?? configPath
  if (named === null) {
    const next =
      'pass the trust file that you pinned: --trust FILE; for your own fabric, --data DIR'
    throw new Failure('usage', 'no trust is named that the receipt could be verified by', next)
  }
  return join(findDataFolder(options, context.environment), DATA_FILES.trust)
}

/** The small file that `up` writes, or the document of `GET /v1/trust`, which holds more. */
export function readTrustFile(path: string): Trust {
  let bytes: Uint8Array
  try {
    bytes = readNamed(path, trustBytesMax)
  } catch (error) {
    const next = 'pass the trust file of the fabric that made the receipt: --trust FILE'
    throw new Failure('usage', `no trust can be read: ${toFailure(error).message}`, next)
  }
  try {
    return parseTrustOfAnyForm(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    const isFormer = error instanceof FormerFormatError
    const why = isFormer ? `${path}: ${error.message}` : `${path} is not a trust file`
    throw new Failure('usage', why, 'use `<data>/trust.json` of the fabric')
  }
}

async function readReceipt(file: string): Promise<Uint8Array> {
  if (file === '-') {
    const bytes = await readStdin(receiptBytesMax)
    if (bytes === null) throw new Failure('no', 'stdin is too long to be a receipt')
    return bytes
  }
  try {
    return readNamed(file, receiptBytesMax)
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error
    throw new Failure('no', `${file} is too long to be a receipt`)
  }
}

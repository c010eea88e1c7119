import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseTrust, receiptBytesMax, type Trust } from '@countersign/protocol'
import { parseTrustDocument } from '@countersign/sdk'
import type { Command } from 'commander'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { DATA_FILES, findDataFolder } from '../data-folder.ts'
import { Failure } from '../failure.ts'
import { readStdin } from '../stdin.ts'
import { formatVerification, verifyInSteps } from '../verification.ts'

interface VerifyOptions extends CommonOptions {
  readonly trust?: string
}

export function addVerifyCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('verify')
      .argument('<receipt>', 'a receipt file, or - for stdin')
      .description('verify a receipt offline; ends with 1 when anything about it is wrong')
      .option('--trust <file>', 'the pinned trust; the data folder’s own without it'),
  ).action(async (file: string, options: VerifyOptions) => {
    const output = outputOf(context, options)
    const trust = await readTrustFile(trustPath(context, options))
    const verification = await verifyInSteps(await readReceipt(file), trust)
    if (verification.verified === null) context.end('no')
    const { failure, steps, verified } = verification
    output.show({ ok: verified !== null, failure, steps, receipt: verified }, () =>
      formatVerification(verification, output.terminal),
    )
  })
}

function trustPath(context: CliContext, options: VerifyOptions): string {
  return options.trust ?? join(findDataFolder(options, context.environment), DATA_FILES.trust)
}

/** The small file that `up` writes, or the document of `GET /v1/trust`, which says more. */
async function readTrustFile(path: string): Promise<Trust> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const next = 'pass the trust file of the fabric that made the receipt: --trust FILE'
    throw new Failure('usage', `no trust can be read from ${path} (${String(cause)})`, next)
  })
  try {
    return parseTrust(text)
  } catch {
    return parseDocument(text, path)
  }
}

function parseDocument(text: string, path: string): Trust {
  try {
    return parseTrustDocument(JSON.parse(text))
  } catch {
    throw new Failure('usage', `${path} is no trust file`, 'use `<data>/trust.json` of the fabric')
  }
}

async function readReceipt(file: string): Promise<Uint8Array> {
  if (file === '-') {
    const bytes = await readStdin(receiptBytesMax)
    if (bytes === null) throw new Failure('no', 'stdin is too long to be a receipt')
    return bytes
  }
  const { size } = await stat(file)
  if (size > receiptBytesMax) throw new Failure('no', `${file} is too long to be a receipt`)
  return new Uint8Array(await readFile(file))
}

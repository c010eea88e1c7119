import { writeFile } from 'node:fs/promises'
import { RefusedError } from '@countersign/sdk'
import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { assertExchangeId } from '../exchange-id.ts'
import { fetchBytes, withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'

interface ReceiptOptions extends ClientOptions {
  readonly out?: string
}

export function addReceiptCommand(program: Command, context: CliContext): void {
  addClientOptions(
    program
      .command('receipt')
      .argument('<exchange>', 'the exchange id, exc_…')
      .description('fetch the receipt of an exchange, for `verify` and for auditors')
      .option('-o, --out <file>', 'write it there instead of to stdout'),
  ).action(async (exchange: string, { out, ...options }: ReceiptOptions) => {
    assertExchangeId(exchange)
    const output = outputOf(context, options)
    await withFabric(context, options, async (fabric) => {
      const bytes = await fetchBytes(fabric, `/v1/receipts/${exchange}`).catch((error: unknown) =>
        Promise.reject(whyNone(error, exchange)),
      )
      if (out === undefined) {
        // The bytes as they are: a receipt has one form, and a line break at its end is another.
        output.terminal.write(bytes)
        return
      }
      await writeFile(out, bytes)
      output.show({ exchange, file: out, bytes: bytes.length }, ({ file }) => `wrote ${file}`)
    })
  })
}

/**
 * Returns the reason: the exchange does not exist, has not ended, or is not visible to this
 * identity.
 */
export function whyNone(error: unknown, exchange: string): unknown {
  if (!(error instanceof RefusedError)) return error
  if (error.code === 'EXCHANGE_UNKNOWN') {
    return new Failure('no', `${exchange} is not on record here`, error.next)
  }
  if (error.code === 'EXCHANGE_OPEN') {
    const next = `ask again later; \`countersign explain ${exchange}\` shows what is known of it`
    return new Failure('pending', `${exchange} is still open, so it has no receipt yet`, next)
  }
  if (error.code !== 'NOT_PERMITTED') return error
  const says = `NOT_PERMITTED: this identity may not see a receipt of ${exchange}, if there is one`
  return new Failure('refused', says, 'ask as one of its two ends, with --identity <folder>')
}

import type { FabricStatus } from '@countersign/protocol'
import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { formatCount, formatDuration, formatMebibytes } from '../output/quantities.ts'

export function addStatusCommand(program: Command, context: CliContext): void {
  const command = program.command('status').description('the state of the running fabric')
  addClientOptions(command).action(async (options: ClientOptions) => {
    const output = outputOf(context, options)
    await withFabric(context, options, async (fabric) => {
      const status = await fabric.admin('status', {})
      output.show(status, () =>
        output.terminal.facts([
          ['fabric', status.origin],
          ['version', status.version],
          ['trust domain', status.trustDomain],
          ['up for', formatDuration(status.uptimeMs)],
          ['memory', formatMebibytes(status.memoryBytes)],
          ['agents', status.agents],
          ['log slot', status.ledger.slot],
          ...otherSlots(status),
          ['ledger entries', status.ledger.size],
          ...followers(status),
          ['ledger key', status.ledger.vkey],
          ['trust', status.trustFingerprint],
          ['policy version', status.policyVersion],
        ]),
      )
    })
  })
}

/** Parts that follow the log: how far each is. */
function followers({ consumers }: FabricStatus): readonly (readonly [string, string])[] {
  return consumers.map(({ name, position, behind, skipped }) => {
    const left = behind === 0 ? 'up to date' : `${formatCount(behind, 'entry', 'entries')} behind`
    const lost = skipped === 0 ? '' : `; ${skipped} could not be opened`
    return [name, `${left} at entry ${position}${lost}`]
  })
}

/** Only of a fabric with several logs, which few have. */
function otherSlots({ ledger, slots }: FabricStatus): readonly (readonly [string, string])[] {
  return slots
    .filter(({ slot }) => slot !== ledger.slot)
    .map(({ slot, isHeld, address }) => [
      `log slot ${slot}`,
      isHeld ? `held at ${address === '' ? 'an unknown address' : address}` : 'not held',
    ])
}

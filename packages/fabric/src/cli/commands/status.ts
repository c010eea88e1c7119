import { type FabricStatus, parseSpiffeId } from '@countersign/protocol'
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
          ...consumers(status),
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
function consumers(status: FabricStatus): readonly (readonly [string, string])[] {
  return status.consumers.map(({ name, position, behind, skipped }) => {
    const lost = skipped === 0 ? '' : `; ${skipped} could not be opened`
    return [name, `${placeOf(position, behind)}${lost}`]
  })
}

/** Readers that are connected: how much of the log each was sent. */
function followers(status: FabricStatus): readonly (readonly [string, string])[] {
  return status.followers.map(({ reader, position, behind }) => [
    'follower',
    `${parseSpiffeId(reader)?.name ?? reader}: ${placeOf(position, behind)}`,
  ])
}

function placeOf(position: number, behind: number): string {
  const left = behind === 0 ? 'up to date' : `${formatCount(behind, 'entry', 'entries')} behind`
  return `${left} at entry ${position}`
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

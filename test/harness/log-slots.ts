import type { PostgresDatabase } from '../../packages/fabric/src/adapters/postgresql/database.ts'
import { type LogSlot, openLogSlot } from '../../packages/fabric/src/compose/log-slot.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'

/** The log slot of a replica on this data folder, with a lease of a second. */
export function openTestSlot(database: PostgresDatabase, dataDir: string): Promise<LogSlot> {
  const file = { path: 'countersign.yaml', text: '{ replica: true, ledger: { leaseMs: 1000 } }' }
  const config = parseConfig(file, readEnvironment(), { dataDir, port: 0 })
  const events = { log: () => undefined, onFatal: () => undefined }
  const environment = { config, clock: systemClock, random: systemRandom, ...events }
  return openLogSlot(environment, database)
}

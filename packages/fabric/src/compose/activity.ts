import type { ActivityView } from '@countersign/protocol'
import type { AdminDeps } from '../admin/ports.ts'
import { subjectName } from '../ledger/named-subjects.ts'
import type { EdgeActivity } from '../observe/activity.ts'
import type { Consumers } from './detection.ts'
import type { Environment, Stores } from './stores.ts'

interface ActivityParts {
  readonly stores: Pick<Stores, 'ledger'>
  readonly environment: Pick<Environment, 'clock' | 'config'>
  readonly consumers: Pick<Consumers, 'activity'>
}

/** Reads the edges of a window from memory, with most exchanges first. */
export function readActivity(
  { stores, environment, consumers }: ActivityParts,
  { window, name, countMax }: Parameters<AdminDeps['activity']>[0],
): ActivityView {
  const { clock, config } = environment
  const to = clock.now()
  const only = name === undefined ? null : (subjectName(name, config.trustDomain) ?? name)
  const { from, edges } = consumers.activity.read(window, to)
  const found = edges.filter(
    ({ caller, receiver }) => only === null || caller === only || receiver === only,
  )
  const minutes = Math.max(1, (to - from) / 60_000)
  return {
    ...{ slot: stores.ledger.slot, window, from, to, found: found.length },
    edges: found
      .toSorted(byExchanges)
      .slice(0, countMax)
      .map((edge) => ({ ...edge, perMinute: edge.exchanges / minutes })),
  }
}

function byExchanges(a: EdgeActivity, b: EdgeActivity): number {
  const [first, second] = [a, b].map(({ caller, receiver }) => `${caller} ${receiver}`)
  return b.exchanges - a.exchanges || ((first ?? '') < (second ?? '') ? -1 : 1)
}

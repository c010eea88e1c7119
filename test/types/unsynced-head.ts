/**
 * Every way to let a checkpoint out that is not synced, none of which compiles. `npm run check`
 * fails when one of these lines stops being an error. Nothing in this file ever runs.
 */

import type { GroupCommit } from '../../packages/fabric/src/ledger/group-commit.ts'
import type { HandedOut, PublisherParts } from '../../packages/fabric/src/ledger/publisher.ts'
import type { StoredHead } from '../../packages/fabric/src/ledger/store.ts'
import type { SyncedHead } from '../../packages/fabric/src/ledger/synced-heads.ts'

declare const stored: StoredHead
declare const synced: SyncedHead
declare const commit: GroupCommit

// @ts-expect-error wrong type: the members alone do not make it
export const made: SyncedHead = { size: 1, at: 0, checkpoint: '' }
// @ts-expect-error not exported: the signature of the newest commit
export const newest: StoredHead = commit.head
// @ts-expect-error wrong type: a receipt with a head that no sync has covered
export const receipt: HandedOut['head'] = stored
export const published: PublisherParts['heads'] = {
  published: synced,
  // @ts-expect-error wrong type: the publication of a head that no sync has covered
  release: () => Promise.resolve(stored),
}

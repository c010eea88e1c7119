import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { type ConsistencyProof, toBase64 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { leafHash } from '../../packages/fabric/src/ledger/hash.ts'
import { Tree } from '../../packages/fabric/src/ledger/tree.ts'
import { hasCommand } from '../fuzz/oracle.ts'

const sizes = [1, 2, 3, 7, 8, 255, 256, 257, 300, 511, 512, 1_000]

/** The number of proofs that `golang.org/x/mod/sumdb/tlog` accepts. */
function acceptedByGo(proofs: readonly ConsistencyProof[]): number {
  const input = JSON.stringify(
    proofs.map(({ oldSize, newSize, ...hashes }) => ({
      ...{ oldSize, newSize },
      oldRoot: toBase64(hashes.oldRoot),
      newRoot: toBase64(hashes.newRoot),
      path: hashes.path.map(toBase64),
    })),
  )
  const cwd = join(import.meta.dirname, '../tlog')
  const env = { ...process.env, GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' }
  const ran = spawnSync('go', ['run', '.'], { cwd, env, input, encoding: 'utf8' })
  if (ran.status !== 0) throw new Error(`go run: ${ran.stderr}`)
  return Number(ran.stdout)
}

test.skipIf(!hasCommand('go', 'version'))(
  'Go accepts every consistency proof of the tree, and none with a changed hash',
  async () => {
    const tree = new Tree(() => Promise.reject(new Error('nothing to read')))
    const roots = new Map<number, Uint8Array>()
    for (let size = 1; size <= 1_000; size++) {
      tree.append(leafHash(Buffer.from(`entry ${size}`)))
      roots.set(size, Uint8Array.from(tree.root()))
    }
    const rootAt = (size: number) => roots.get(size) ?? new Uint8Array(32)
    const proofs: ConsistencyProof[] = []
    for (const oldSize of sizes) {
      for (const newSize of sizes.filter((size) => size >= oldSize)) {
        const path = await tree.consistencyPath(oldSize, newSize)
        const ends = { oldRoot: rootAt(oldSize), newRoot: rootAt(newSize) }
        proofs.push({ oldSize, newSize, ...ends, path })
      }
    }
    expect(acceptedByGo(proofs)).toBe(proofs.length)
    const changed = proofs.map((proof) => ({
      ...proof,
      oldRoot: proof.oldRoot.with(31, (proof.oldRoot[31] ?? 0) ^ 1),
    }))
    expect(acceptedByGo(changed)).toBe(0)
  },
)

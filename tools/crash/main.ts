import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Round, runFabricRounds } from './fabric-rounds.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const seed = Number(values.seed ?? Date.now() % 1_000_000)
console.log(`seed ${seed}`)
let state = seed
const random = () => {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
}
const root = mkdtempSync(join(tmpdir(), 'countersign-crash-'))
const t0 = performance.now()
const report = await runFabricRounds({
  root,
  rounds,
  random,
  onRound: (r: Round) =>
    console.log(
      `round ${r.round}/${rounds} ${r.death}: ${r.exchanges} exchanges, ${r.messages} messages, ${r.indeterminate} indeterminate, ledger ${r.entries} entries, ${r.violations.length === 0 ? 'ok' : r.violations.join('; ')}`,
      Math.round(performance.now() - t0),
    ),
})
console.log(report)
if (report.violations.length === 0) rmSync(root, { recursive: true })
else console.log(root)

/**
 * A streamed request, answered while it is sent, with proof of the frames that passed. Needs a
 * running fabric, two join strings, and a route of the callee with `streams: { permit: both }`:
 *
 *     node examples/streamed-call.ts <join of the caller> <join of the callee>
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ndjsonResponse, openAgent, verify } from '@countersign/sdk'

const [callerJoin = '', calleeJoin = ''] = process.argv.slice(2)
const home = await mkdtemp(join(tmpdir(), 'countersign-example-'))
const caller = await openAgent({ join: callerJoin, dir: join(home, 'caller') })
const callee = await openAgent({ join: calleeJoin, dir: join(home, 'callee') })

// docs:serve
async function* sumsOf(amounts: AsyncIterable<unknown>) {
  let sum = 0
  for await (const amount of amounts) yield (sum += Number(amount))
}
await callee.serve(
  ({ stream }) => {
    if (stream === null) return new Response('send JSON lines', { status: 422 })
    return ndjsonResponse(sumsOf(stream.values()))
  },
  { protocol: 'http' },
)
// docs:end

async function* payments() {
  for (const amount of [3, 4, 5]) yield amount
}

// docs:call
const reply = await caller.call(callee.name, {
  path: '/sums',
  ndjson: payments(), // or `body`: pieces of text or bytes, such as a ReadableStream
  timeoutMs: 30_000,
})
const sums: unknown[] = []
for await (const sum of reply.values()) sums.push(sum)
// docs:end

// docs:prove
const receipt = await reply.receipt() // throws FRAMES_MISMATCHED if other frames are on record
const { request, response } = reply.frameRecords() // 32 bytes and two counts for each direction
const again = await verify(receipt.bytes, caller.trust, { as: 'caller', request, response })
// docs:end

assert.deepEqual(sums, [3, 7, 12])
assert.equal(again.exchange, reply.exchange)
console.log(`exchange ${again.exchange}`)
console.log(`${request?.frames} frames sent, ${response?.frames} received, as the receipt proves`)

await Promise.all([caller.close(), callee.close()])
await rm(home, { recursive: true })

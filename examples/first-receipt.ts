/**
 * From nothing to a verified receipt. Needs a running fabric and two join strings:
 *
 *     node examples/first-receipt.ts <join of the caller> <join of the callee>
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAgent, verify } from '@countersign/sdk'

const [callerJoin = '', calleeJoin = ''] = process.argv.slice(2)
// Identities live in directories; a real agent keeps its own. Here they are thrown away again.
const home = await mkdtemp(join(tmpdir(), 'countersign-example-'))

// docs:first-receipt
const caller = await openAgent({ join: callerJoin, dir: join(home, 'caller') })
const callee = await openAgent({ join: calleeJoin, dir: join(home, 'callee') })

await callee.serve(async ({ request, from }) => {
  const { invoice } = await request.json()
  return Response.json({ paid: invoice, by: from })
})

const reply = await caller.call(callee.name, { path: '/pay', json: { invoice: 4411 } })
const answer = await reply.json()
const receipt = await reply.receipt()
// docs:end

assert.deepEqual(answer, { paid: 4411, by: caller.spiffeId })
assert.equal(receipt.caller, caller.spiffeId)
assert.equal(receipt.request.by, 'caller', 'the caller signed the request')
assert.equal(receipt.response.by, 'callee', 'the callee countersigned the response')

// docs:verify
const bytes = receipt.bytes // keep these: they verify without the fabric
const again = await verify(bytes, caller.trust)
// docs:end
assert.equal(again.exchange, reply.exchange)

console.log(`exchange ${again.exchange}`)
console.log(`signed by ${again.caller}, countersigned by ${callee.spiffeId}`)
console.log(`in the log ${again.origin}, proved by a checkpoint of ${again.checkpointSize} entries`)

await Promise.all([caller.close(), callee.close()])
await rm(home, { recursive: true })

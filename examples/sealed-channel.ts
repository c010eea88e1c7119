/**
 * A message for an agent that is not online. Neither the broker nor the fabric can read it. Needs a
 * running fabric, two join strings, and a channel that both agents belong to:
 *
 *     countersign channel create <channel> --member <sender> --member <receiver>
 *     node examples/sealed-channel.ts <join of the sender> <join of the receiver> <channel>
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAgent } from '@countersign/sdk'

const [senderJoin, receiverJoin, channelName] = process.argv.slice(2)
// Before anything is enrolled: a join string is good once.
if (senderJoin === undefined || receiverJoin === undefined || channelName === undefined) {
  throw new Error('usage: sealed-channel.ts <join of the sender> <join of the receiver> <channel>')
}
const home = await mkdtemp(join(tmpdir(), 'countersign-example-'))
const sender = await openAgent({ join: senderJoin, dir: join(home, 'sender') })
const receiver = await openAgent({ join: receiverJoin, dir: join(home, 'receiver') })

// docs:send
const outbox = sender.channel(channelName)
const body = JSON.stringify({ invoice: 4411, amount: '1,200.00' })
const sent = await outbox.send(body, {
  contentType: 'application/json',
  labels: ['invoice'], // what policy and broker may see; the body is not
  idempotencyKey: randomUUID(), // so that sending again after a failure stores nothing twice
})
// docs:end
assert.equal(sent.state, 'stored')

// docs:receive
const inbox = receiver.channel(channelName)
const [message] = await inbox.receive({ group: 'bookkeeping', waitMs: 5_000 })
// docs:end
assert(message !== undefined, 'the message arrived')
assert.equal(message.sender, sender.name, 'its sender is verified, not claimed')
assert.equal(new TextDecoder().decode(message.body), body)

// docs:ack
await message.ack() // signed: the receiver has it, and cannot deny it
// docs:end
assert.deepEqual(await inbox.receive({ group: 'bookkeeping', waitMs: 0 }), [], 'it comes once')

if (sent.exchange !== null) {
  const receipt = await sender.receipt(sent.exchange)
  assert.equal(receipt.caller, sender.spiffeId)
  console.log(`receipt of the hand-over: ${receipt.exchange}`)
}
console.log(`message ${sent.messageId} at offset ${sent.offset} of ${channelName}, opened by one`)

await Promise.all([sender.close(), receiver.close()])
await rm(home, { recursive: true })

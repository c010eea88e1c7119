import { randomBytes } from 'node:crypto'
import amqp from 'amqplib'
import { hasRabbitMq, startRabbitMq } from '../tools/rabbitmq.ts'

/** As long as one sealed message of 1 KB, so that both move the same bytes. */
const bodyBytes = 1400
const messages = 20_000
const inFlight = 128

/** Publish, confirm, consume and acknowledge on one quorum queue of one node; null where absent. */
export async function measureRabbitMq(): Promise<{ readonly messagesPerSecond: number } | null> {
  if (!hasRabbitMq()) return null
  const server = await startRabbitMq()
  try {
    const connection = await amqp.connect(server.url)
    const out = await connection.createConfirmChannel()
    const back = await connection.createChannel()
    await out.assertQueue('bench', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await back.prefetch(inFlight)
    const { promise: all, resolve } = Promise.withResolvers<void>()
    let acknowledged = 0
    await back.consume('bench', (message) => {
      if (message === null) return
      back.ack(message)
      acknowledged += 1
      if (acknowledged === messages) resolve()
    })
    const body = randomBytes(bodyBytes)
    const started = performance.now()
    let sent = 0
    const sender = async (): Promise<void> => {
      while (sent < messages) {
        sent += 1
        await new Promise<void>((confirmed, failed) => {
          out.sendToQueue('bench', body, { persistent: true }, (fault: unknown) =>
            fault === null ? confirmed() : failed(new Error('not confirmed')),
          )
        })
      }
    }
    await Promise.all(Array.from({ length: inFlight }, sender))
    await all
    const seconds = (performance.now() - started) / 1000
    await connection.close()
    return { messagesPerSecond: messages / seconds }
  } finally {
    await server.stop()
  }
}

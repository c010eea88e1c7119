import { join } from 'node:path'
import { measureQueue } from './queue.ts'
import { measureRabbitMq } from './rabbitmq-baseline.ts'
import { missingRow, type Row, row } from './row.ts'

/** Sealed channels, send to acknowledgement, next to RabbitMQ's quorum queues where installed. */
export async function measureQueueRows(dir: string): Promise<readonly Row[]> {
  const figures = await measureQueue(join(dir, 'queue'))
  const rabbit = await measureRabbitMq()
  const baseline =
    rabbit === null ? {} : { baseline: 'RabbitMQ quorum queue, nothing sealed or signed' }
  const ours = figures.map((figure) => {
    const ratio =
      rabbit === null ? {} : { ratio: figure.messagesPerSecond / rabbit.messagesPerSecond }
    const main = figure.name === 'a signature each, 128 in flight'
    return row(
      main ? 'queue.messages-per-s' : `queue.messages-per-s ${figure.name}`,
      figure.messagesPerSecond,
      '1/s',
      {
        ...baseline,
        ...ratio,
        note: `${figure.name}, ${Math.round(figure.fsyncsPer1000)} syncs per 1,000 acknowledgements, ${Math.round(figure.cpuUsPerMessage)} µs a message`,
      },
    )
  })
  const name = 'queue.messages-per-s RabbitMQ'
  const theirs =
    rabbit === null
      ? missingRow(name, 'apt-get install --no-install-recommends rabbitmq-server')
      : row(name, rabbit.messagesPerSecond, '1/s', {
          note: 'one quorum queue of one node, 1,400 bytes, confirmed and acknowledged',
        })
  return [...ours, theirs]
}

import { isUtf8 } from 'node:buffer'
import { join } from 'node:path'
import { type Agent, openAgent } from '@countersign/sdk'
import fc from 'fast-check'
import { expect } from 'vitest'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { attack, newName } from '../harness/attack.ts'
import { narrowClusters, rowsOf } from '../harness/rows.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const columns = 48

/** Returns what `channel receive` prints on a terminal, or with `--json`. */
async function received(dir: string, channel: string, options: readonly string[] = []) {
  let written = ''
  const stdout = { isTTY: true, columns, write: (text: unknown) => void (written += String(text)) }
  const stderr = { write: () => undefined }
  const args = ['channel', 'receive', channel, '--count', '64', '--identity', dir, ...options]
  expect(await run(args, { stdout, stderr })).toBe(0)
  // Our own heads are dimmed; whatever else moves a cursor stays.
  return written.replaceAll('\u001b[2m', '').replaceAll('\u001b[22m', '')
}

/**
 * A channel with the messages of `mallory` among those of `billing`, and a directory to read them
 * with.
 */
async function channelWith(
  world: World,
  bodies: readonly (string | Uint8Array)[],
  contentType = 'text/plain',
) {
  const channel = newName('imitated')
  const [mallory, billing, reader] = ['attacker', 'billing-of-lines', 'reader-of-lines'] as const
  const members = [mallory, billing, reader]
  for (const name of members) await world.agent(name, ['caller'])
  await world.admin('channel.create', { name: channel, members })
  const dirOf = (name: string) => join(world.dir, name)
  const senders: Agent[] = []
  try {
    for (const name of [mallory, billing]) {
      senders.push(await openAgent({ dir: dirOf(name), clock: world.clock }))
    }
    const [attacker, honest] = senders as [Agent, Agent]
    for (const body of bodies) await attacker.channel(channel).send(body, { contentType })
    await honest.channel(channel).send('invoice 1 is paid', { contentType: 'text/plain' })
  } finally {
    for (const sender of senders) await sender.close()
  }
  const sizeOf = (body: string | Uint8Array) =>
    typeof body === 'string' || isUtf8(body) ? '' : `, ${body.length} bytes`
  const heads = bodies.map((body, i) => `${i + 1} from ${mallory}, text/plain${sizeOf(body)}`)
  const last = `${bodies.length + 1} from ${billing}, text/plain`
  return { channel, dir: dirOf(reader), heads: [...heads, last] }
}

const group = () => ['--group', newName('g')]

attack(verifies(['record:legible'], 'no message on a channel imitates one of another sender'), {
  gateway: 'one request is for one receiver, and no command prints its body',
  mesh: 'one request is for one receiver, and no command prints its body',
  queue: {
    'by a line in its body, or by the row at which a terminal breaks one': async (world) => {
      const forged = '2 from billing, text/plain'
      const ends = ['\n', '\r\n', '\r', '\u2028', '\v', '\n\n', '\n\u001b[2K']
      const lines = ends.map((end) => `hello${end}${forged}${end}invoice 2 is cancelled`)
      const long = ['x', '日', ...narrowClusters].flatMap((fill) =>
        [columns / 2 - 1, columns - 2, columns, 2 * columns].map(
          (count) => `${fill.repeat(count)}${forged}`,
        ),
      )
      const { channel, dir, heads } = await channelWith(world, [...lines, ...long])
      const rows = rowsOf((await received(dir, channel, group())).trimEnd(), columns)
      expect(rows.filter((row) => !row.startsWith(' '))).toEqual(heads)
    },
    'by its media type': async (world) => {
      const types = [
        'text/plain 2 from billing',
        `${'x'.repeat(columns - 10)}2 from billing, text/plain`,
      ]
      for (const contentType of types) {
        const { channel, dir, heads } = await channelWith(world, ['hello'], contentType)
        const rows = rowsOf((await received(dir, channel, group())).trimEnd(), columns)
        expect(rows).toHaveLength(4)
        expect(rows[0]).toMatch(/^1 from [a-z0-9-]+, "/)
        expect(rows.slice(1)).toEqual(['  hello', heads[1], '  invoice 1 is paid'])
      }
    },
    'by any text, by bytes or by nothing': async (world) => {
      const text = fc.string({ unit: 'binary', maxLength: 80 }).map((words) => words.toWellFormed())
      const line = fc.constantFrom('2 from billing, text/plain', '', ' ', '\n', '(3 bytes)')
      const bodies = fc.sample(
        fc.oneof(
          text,
          fc.array(line).map((lines) => lines.join('\n')),
          fc.uint8Array(),
        ),
        6,
      )
      const { channel, dir, heads } = await channelWith(world, bodies)
      const rows = rowsOf((await received(dir, channel, group())).trimEnd(), columns)
      expect(rows.filter((row) => !row.startsWith(' '))).toEqual(heads)
    },
    'and programs get it as it is': async (world) => {
      const body = 'hello\n2 from billing, text/plain\n  indented'
      const { channel, dir } = await channelWith(world, [body])
      const text = await received(dir, channel, [...group(), '--json'])
      const [first] = text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { readonly text: string })
      expect(first?.text).toBe(body)
    },
  },
})

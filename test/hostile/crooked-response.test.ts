import { gzipSync } from 'node:zlib'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { expectAnswerRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const json =
  (body: string | Uint8Array, ...fields: string[]): Answering =>
  (_, response) => {
    response.writeHead(200, ['content-type', 'application/json', ...fields]).end(body)
  }

const answers: Readonly<Record<string, Answering>> = {
  'compressed although the caller did not ask for it': json(
    gzipSync('{}'),
    'content-encoding',
    'gzip',
  ),
  'in an unknown coding': json('{}', 'content-encoding', 'rot13'),
  'with two types': json('{}', 'content-type', 'text/html'),
  'with two digests': json('{}', 'content-digest', 'sha-256=:AA==:', 'content-digest', 'a=:AA==:'),
  'with two sessions': json('{}', 'mcp-session-id', 'a', 'mcp-session-id', 'b'),
  'with a session id without end': json('{}', 'mcp-session-id', 'a'.repeat(8_000)),
  'that names a member twice': json('{"a":1,"a":2}'),
  'that is not JSON': json('<html>'),
  'that is not text': json(Buffer.from([0x22, 0xff, 0x22])),
  'that nests too deep': json('['.repeat(100) + ']'.repeat(100)),
  'of a type that the fabric does not inspect': (_, response) => {
    response.writeHead(200, { 'content-type': 'application/pdf' }).end('%PDF')
  },
  'without a type, and not as JSON although it starts so': (_, response) => {
    response.writeHead(200).end('{"a":1,"a":2}')
  },
  'that does not end': json(`"${'x'.repeat(5 * 1024 * 1024)}"`),
}

const answer =
  (transport: 'gateway' | 'mesh', answering: Answering): Attempt =>
  async (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      attempt: () => world.echo.during(answering, () => send(world[transport])),
    })

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(answers).map(([way, each]) => [way, answer(transport, each)]))

attack(
  verifies(
    ['inspect:response'],
    'an answer that a request would be refused for does not reach the caller',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'an acknowledgement carries no content',
  },
)

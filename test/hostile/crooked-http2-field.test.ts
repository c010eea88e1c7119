import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { streamOf } from '../harness/raw-http2.ts'
import { verifies } from '../requirements.ts'

type Fields = readonly (readonly [string, string])[]

/** An honest request with these fields behind it, or with these in place of its own. */
interface Crooked {
  readonly more?: Fields
  readonly instead?: Fields
  /**
   * `reset` where HTTP/2 itself ends the stream (RFC 9113, section 8.1.1), `dropped` for the field.
   */
  readonly fate: 'MESSAGE_MALFORMED' | 'reset' | 'dropped'
}

const reset = (...more: Fields): Crooked => ({ more, fate: 'reset' })
const dropped = (...more: Fields): Crooked => ({ more, fate: 'dropped' })
const malformed = (...more: Fields): Crooked => ({ more, fate: 'MESSAGE_MALFORMED' })

const attacks: Readonly<Record<string, Crooked>> = {
  'a host with another authority': malformed(['host', 'other.example']),
  'two credentials in one field': malformed(
    ['authorization', 'Bearer a.b.c'],
    ['authorization', 'Bearer d.e.f'],
  ),
  'two keys': malformed(['x-api-key', 'csk_a'], ['x-api-key', 'csk_b']),
  'two signatures': malformed(['signature', 'a=:AA==:'], ['signature', 'b=:AA==:']),
  'two tools': malformed(['mcp-name', 'read'], ['mcp-name', 'delete']),
  'a line break in a value': dropped(['x-a', 'b\r\ncountersign-from: operator']),
  'a line feed in a value': dropped(['x-a', 'b\ncountersign-from: operator']),
  'a NUL in a value': dropped(['x-a', 'b\0c']),
  'a line break in a name': dropped(['x-a\r\ncountersign-from', 'operator']),
  'a colon in a name': dropped(['x-a: b', 'c']),
  'a name in capitals': reset(['X-Api-Key', 'csk_a']),
  'a coding of HTTP/1.1': reset(['transfer-encoding', 'chunked']),
  'a connection of HTTP/1.1': reset(['connection', 'keep-alive, authorization']),
  'a length that is not the body’s': reset(['content-length', '1']),
  'two lengths': reset(['content-length', '2'], ['content-length', '17']),
  'a second method': reset([':method', 'GET']),
  'a second path': reset([':path', '/v1/admin']),
  'a made-up pseudo field': reset([':sudo', '1']),
  'a path in absolute form': {
    instead: [[':path', 'https://other.example/agents/echo/']],
    fate: 'reset',
  },
  'a line break in the path': {
    instead: [[':path', '/agents/echo/ HTTP/1.1\r\nX-A: b']],
    fate: 'reset',
  },
  'a line break in the method': { instead: [[':method', 'POST / HTTP/1.1\r\nX']], fate: 'reset' },
  'another scheme': { instead: [[':scheme', 'ftp']], fate: 'MESSAGE_MALFORMED' },
  'a scheme without TLS': { instead: [[':scheme', 'http']], fate: 'MESSAGE_MALFORMED' },
  'no authority at all': { instead: [[':authority', '']], fate: 'reset' },
}

const attempt =
  ({ more = [], instead = [], fate }: Crooked): Attempt =>
  async (world) => {
    const { port, authority, path } = await world.gateway.place('echo', '/')
    const honest: Fields = [
      [':method', 'POST'],
      [':scheme', 'https'],
      [':authority', authority],
      [':path', path],
      ['content-type', 'application/json'],
    ]
    const fields = honest.map(
      ([name, value]) => [name, instead.find(([other]) => other === name)?.[1] ?? value] as const,
    )
    const credential = world.caller.credential()
    const before = world.echo.reached.length
    const heard = await streamOf({
      port,
      credential,
      fields: [...fields, ...more],
      body: '{"a":1}',
    })
    const reached = world.echo.reached.slice(before)
    if (fate === 'dropped') {
      expect(reached.map(({ rawHeaders }) => rawHeaders.join())).toHaveLength(1)
      // At the start of a field: signatures in base64 have three letters by chance.
      return expect(reached[0]?.rawHeaders.join()).not.toMatch(/(?:^|,)x-a|operator/i)
    }
    expect(reached).toEqual([])
    // PROTOCOL_ERROR by the parser; INTERNAL_ERROR by us, when the body breaks off.
    if (fate === 'reset') return expect([1, 2]).toContain(heard.reset)
    const problem = JSON.parse(heard.body.toString()) as { code: string; exchange: string }
    expect(problem.code).toBe(fate)
    const entries = await world.explain(problem.exchange)
    expect(entries).toMatchObject([{ kind: 'refusal', facts: { code: fate } }])
  }

attack(
  verifies(
    ['deliver:rebuilt', 'inspect:malformed@gateway'],
    'a field that HTTP/2 could carry and HTTP/1.1 could not does not pass',
  ),
  {
    gateway: {
      'an honest one passes': async (world) => {
        const { port, authority, path } = await world.gateway.place('echo', '/')
        const fields = [
          [':method', 'POST'],
          [':scheme', 'https'],
          [':authority', authority],
          [':path', path],
          ['content-type', 'application/json'],
        ] as const
        const credential = world.caller.credential()
        const heard = await streamOf({ port, credential, fields, body: '{"a":1}' })
        expect([heard.reset, heard.body.toString()]).toEqual([null, '{"a":1}'])
      },
      ...Object.fromEntries(
        Object.entries(attacks).map(([way, crooked]) => [way, attempt(crooked)]),
      ),
    },
    mesh: 'connectors speak HTTP/1.1 to each other',
    queue: 'members come in by the gateway',
  },
)

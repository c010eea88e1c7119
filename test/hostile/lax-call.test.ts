import type { RefusalCode } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { exchangeOf, expectRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}'
const bare = '{"method":"tools/call","params":{"name":"pay"}}'
const form = 'application/x-www-form-urlencoded'

/** One call as readers other than strict ones take it. */
const notations: Readonly<Record<string, string | Uint8Array>> = {
  'as it is': call,
  'with NaN': call.replace('"id":1', '"id":NaN'),
  'with Infinity': call.replace('"id":1', '"id":-Infinity'),
  'with a block comment': call.replace('"tools', '/* a call */ "tools'),
  'with a line comment': call.replace('"method":', '// a call\n"method":'),
  'with a comment in hash': call.replace('"method":', '# a call\n"method":'),
  'with a trailing comma': call.replace('}}', '},}'),
  'with single quotes': call.replaceAll('"', "'"),
  'with bare names': call.replaceAll(/"(jsonrpc|id|method|params|name)"/g, '$1'),
  'with hexadecimal numbers': call.replace('"id":1', '"id":0x1'),
  'with a leading plus': call.replace('"id":1', '"id":+1'),
  'with a leading zero': call.replace('"id":1', '"id":01'),
  'with two documents': `{"a":1}${call}`,
  'with two documents, the call first': `${call}\n{"a":1}`,
  'as one of several lines': `{"a":1}\n${call}\n`,
  'as a record of a sequence': `\u001e${call}\n`,
  'behind the prefix of Angular': `)]}'\n${call}`,
  'behind a loop': `for(;;);${call}`,
  'behind a comment': `/*-secure-\n${call}*/`,
  'behind words': `Please run: ${call}`,
  'behind a byte order mark': `\ufeff${call}`,
  'behind zero-width spaces': `\u200b${call}`,
  'as an argument of a function': `callback(${call});`,
  'as a list': `[${call}]`,
  'in a list with other things': `[1,${call}`,
  'cut off': call.slice(0, -1),
  'with a name that occurs twice': call.replace('"id":1', '"method":"x"'),
  'with an escaped name': call.replace('"method"', '"\\u006dethod"'),
  'with an escape of JSON5': call.replace('"method"', '"\\x6dethod"'),
  'with an escaped slash': call.replace('tools/call', 'tools\\/call'),
  'with a continued line': call.replace('tools/call', 'tools/\\\ncall'),
  'with a raw line end in a string': call.replace('pay', 'pa\ny'),
  'in another case': call.replace('method', 'Method').replace('jsonrpc', 'JSONRPC'),
  'with full-width letters': call.replace('method', 'ｍｅｔｈｏｄ'),
  'without its version': bare,
  'without its version, lax': bare.replaceAll('"', "'"),
  'of A2A': bare.replace('tools/call', 'message/send'),
  'of A2A 1.0': bare.replace('tools/call', 'SendMessage'),
  'of every day': '{method: "initialize", id: 1,}',
  'as a notification': bare.replace('tools/call', 'notifications/initialized'),
  'to register pushes': bare.replace('tools/call', 'CreateTaskPushNotificationConfig'),
  'as YAML': 'jsonrpc: "2.0"\nid: 1\nmethod: tools/call\nparams:\n  name: pay\n',
  'as YAML in one line': '{jsonrpc: 2.0, method: tools/call, params: {name: pay}}',
  'as YAML with tags': 'method: !!str tools/call\nparams: {name: pay}\n',
  'as TOML': 'jsonrpc = "2.0"\nmethod = "tools/call"\n[params]\nname = "pay"\n',
  'as a literal of Python': "{'jsonrpc': '2.0', 'method': 'tools/call', 'id': None}",
  'as a hash of Ruby': '{"method" => "tools/call"}',
  'inside a string': JSON.stringify(call),
  'inside a string of a string': JSON.stringify(JSON.stringify(call)),
  'percent-encoded': encodeURIComponent(call),
}

const forms: Readonly<Record<string, string>> = {
  'as the name of a field': encodeURIComponent(call),
  'as the name of a field, unencoded': `${call}=`,
  'as the value of a field': `data=${encodeURIComponent(call)}`,
  'as the second field': `a=1&payload=${encodeURIComponent(call)}`,
  'as fields': 'jsonrpc=2.0&id=1&method=tools/call',
  'as fields, encoded': '%6Dethod=tools%2Fcall&params=%7B%7D',
  'encoded twice': `data=${encodeURIComponent(encodeURIComponent(call))}`,
  'with single quotes': `data=${encodeURIComponent(call.replaceAll('"', "'"))}`,
}

const plain = { to: 'echo', contentType: 'text/plain' } as const
const untyped: Partial<Draft> = {
  edit: (lines) => lines.filter((line) => !line.startsWith('Content-Type')),
}
const drafts: Readonly<Record<string, Draft>> = {
  ...named('as text', notations, plain),
  ...named('as Markdown', notations, { to: 'echo', contentType: 'text/markdown; charset=utf-8' }),
  ...named('without a type', notations, { to: 'echo', ...untyped }),
  ...named('in a form', forms, { to: 'echo', contentType: form }),
  'as a string of JSON': { to: 'echo', body: JSON.stringify(call) },
  'in UTF-16': { ...plain, body: Buffer.from(call, 'utf16le') },
  'in UTF-16 with its mark': { ...plain, body: Buffer.from(`\ufeff${call}`, 'utf16le') },
  'in UTF-32': { ...plain, body: Array.from(call).join('\0\0\0') },
  'in UTF-16 in a form': { to: 'echo', contentType: form, body: Buffer.from(call, 'utf16le') },
  'in parts': {
    to: 'echo',
    contentType: 'multipart/form-data; boundary=x',
    body: `--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n${call}\r\n--x--\r\n`,
  },
  'in the query': { to: 'echo', path: '/?method=tools/call&id=1', body: null, method: 'GET' },
  'in the query, as JSON': { to: 'echo', path: `/?q=${encodeURIComponent(call)}` },
  'named in a header only': { to: 'echo', headers: [['Mcp-Method', 'tools/call']] },
  'with a name that ends at NUL': {
    to: 'echo',
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay\\u0000x"}}',
  },
  'with a method that ends at NUL': {
    to: 'echo',
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/call\\u0000x"}',
  },
  'with a member that ends at NUL': { to: 'echo', body: '{"method\\u0000x":"tools/call"}' },
  'with a padded name': {
    to: 'echo',
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay "}}',
  },
  'by a path beside another call': {
    to: 'echo',
    path: '/v1/tasks/42:cancel',
    body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
  },
  'by the path of the extended card': {
    to: 'echo',
    path: '/extendedAgentCard',
    body: null,
    method: 'GET',
  },
}

function named(
  how: string,
  bodies: Readonly<Record<string, string | Uint8Array>>,
  draft: Partial<Draft>,
): Record<string, Draft> {
  const all = Object.entries(bodies)
  return Object.fromEntries(all.map(([way, body]) => [`${way}, ${how}`, { ...draft, body }]))
}

const codes: ReadonlySet<string | null> = new Set<RefusalCode>([
  'CONTENT_UNSUPPORTED',
  'MESSAGE_MALFORMED',
  'OPERATION_UNKNOWN',
])

const refused =
  (transport: 'gateway' | 'mesh', draft: Draft): Telling =>
  async (world) => {
    const before = world.echo.reached.length
    const heard = await send(world[transport], draft)
    expect(world.echo.reached.slice(before)).toEqual([])
    expect(codes, `refused as ${refusalOf(heard)}`).toContain(refusalOf(heard))
    const code = refusalOf(heard) as RefusalCode
    await expectRefused(world, transport, { code, tell: () => Promise.resolve(heard) })
  }

/** Ordinary text passes, also where it speaks of the same things. */
const harmless: readonly string[] = [
  'The preferred method is to ping you first; initialize nothing.',
  'Our payment method: card. Please call.',
  'jsonrpc is a method of calling',
  'We use message/send where others poll.',
  '{"method":"card","tools":["call"]}',
  'a=1&method=card',
]

const passes =
  (transport: 'gateway' | 'mesh'): Telling =>
  async (world) => {
    for (const body of harmless) {
      const heard = await send(world[transport], { ...plain, body })
      expect({ body, refusal: refusalOf(heard) }).toEqual({ body, refusal: null })
    }
  }

/** A2A over plain HTTP is decided on by its operations, under whatever spelling of their paths. */
const byPath: Readonly<Record<string, string>> = {
  '/message:send': 'SendMessage',
  '/v1/message:stream': 'SendStreamingMessage',
  '/message%3Asend': 'SendMessage',
  '/Message:Send': 'SendMessage',
  '/message:send;x=1': 'SendMessage',
  '/message:send/': 'SendMessage',
  '/acme/message:send': 'SendMessage',
  '/v1/acme/message:send': 'SendMessage',
  '/deep/in/an/application/message:send': 'SendMessage',
}

const operations =
  (transport: 'gateway' | 'mesh'): Telling =>
  async (world) => {
    for (const [path, operation] of Object.entries(byPath)) {
      const heard = await send(world[transport], { to: 'echo', path })
      const [entry] = await world.explain(exchangeOf(heard))
      expect({ path, ...entry?.facts }).toMatchObject({ path, protocol: 'a2a', operation })
    }
  }

const onEach = (transport: 'gateway' | 'mesh') => ({
  ...Object.fromEntries(
    Object.entries(drafts).map(([way, each]) => [way, refused(transport, each)]),
  ),
  'and other text passes': passes(transport),
  'by paths of A2A': operations(transport),
})

lie(
  verifies(
    ['authorize:operation', 'authorize:lax-reader'],
    'a call that a lax reader would carry out does not pass as plain HTTP',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'the fabric cannot read sealed operations',
  },
)

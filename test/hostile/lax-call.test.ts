import { a2aOperations, mcpMethods, type RefusalCode } from '@countersign/protocol'
import { expect } from 'vitest'
import { obsoleteMethods } from '../../packages/fabric/src/protocols/reading/operations.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, type HeaderList, refusalOf, send } from '../harness/doors.ts'
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
  'in percent signs, all of full width': encodeURIComponent(call).replaceAll(
    /[%0-9A-Za-z]/g,
    (sign) => String.fromCharCode(sign.charCodeAt(0) + 0xfee0),
  ),
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

/** The media type makes no difference to how these are found. */
const rareNotations: Readonly<Record<string, string>> = {
  'with many blanks before colons': call.replaceAll('":', `"${' '.repeat(40)}:`),
  'with many line ends before colons': call.replaceAll('":', `"${'\n'.repeat(400)}:`),
  'with its value far away': bare.replace('"method":', `"method":${' '.repeat(4000)}`),
  'with a comment before each colon': call.replaceAll('":', '"/*a*/:'),
  'behind an address': call.replace('{', '{"u":"http://x",').replaceAll('":', '"/*a*/:'),
  'behind a hash in a string': call.replace('{', '{"u":"#",').replaceAll('":', '"/*a*/:'),
  'behind a comment in a string': call.replace('{', '{"u":"/*",').replaceAll('":', '"/*a*/:'),
  'with comments that end at CR': call.replaceAll('":', '"//a\r:'),
  'with comments that end at U+2028': call.replaceAll('":', '"//a\u2028:'),
  'with comments of HTML': call.replaceAll('":', '"<!--a-->:'),
  'with comments of Lua': '{["met" --[[x]]\n.. "hod"] = "tools/call"}',
  'with literals side by side': "{'json' 'rpc': '2.0', 'met' 'hod': 'tools/' 'call'}",
  'with prefixed literals side by side': "{'met' u'hod': b'tools/' rb'call', 't' r'': 1}",
  'with literals and a comment between': "{'\\u006det' # %0ax\n 'hod': 'tools/' 'call'}",
  'with a sum of strings': "({['met'+'hod']: 'tools/'+/* a */'call'})",
  'with short octal escapes': "{'method': 'tools\\57call'}",
  'with octal escapes': "{'\\155ethod': 'tools/call'}",
  'with escapes of eight digits': '{"\\U0000006dethod": "tools/call"}',
  'with escapes in braces': "{'\\u{00000000006d}ethod': 'tools/call'}",
  'with several points in braces': '{"\\u{6d 65 74}hod": "tools/call"}',
  'with named characters': "{'\\N{LATIN SMALL LETTER M}ethod': 'tools\\N{SOLIDUS}call'}",
  'with entities': '{"&#0000109;ethod":"tools&#x2f;call"}',
  'with entities that do not end': '{"&#109ethod":"tools&#47call"}',
  'with entities in entities': '{"&amp;#109;ethod":"tools&amp;sol;call"}',
  'with escapes of several notations': '{"\\u005cu006dethod":"tools%5cu002fcall"}',
  'with one layer on another': `{"${'%'}${'25'.repeat(40)}6dethod":"tools/call"}`,
  'with backslashes doubled': `{"${'\\'.repeat(64)}u006dethod":"tools/call"}`,
  'with backslashes that mean nothing': "{'\\m\\e\\thod': '\\tools\\/\\call'}",
  'with a serialized string of PHP': 'a:1:{S:6:"\\6dethod";S:10:"tools\\2fcall";}',
  'with aliases': '{a: &m method, b: &v tools/call, *m : *v}',
  'with an alias for the value': '{a: &v initialize, method: *v}',
  'with an alias for the name': '{a: &m method, b: {*m : ping}}',
  'with complex keys': '? "method"\n: tools/call\n',
  'with continued keys': '{"met\\\n     hod": "tools/\\\n    call"}',
  'with a block as its value': 'method: |2-\n  ping\n',
  'with a tag before an everyday word': 'method: !!str initialize\n',
  'with binary values': 'method: !!binary dG9vbHMvY2FsbA==\n',
  'with a tag of its own':
    '%TAG !b! tag:yaml.org,2002:bin\n---\n!b!ary bWV0aG9k: !b!ary cGluZw==\n',
  'as a call of a constructor': "dict(jsonrpc='2.0', method='tools/call')",
  'as a list of pairs': '[["jsonrpc","2.0"],["method","tools/call"]',
  'as an array of PHP': "['jsonrpc'=>'2.0','method'=>'tools/call']",
  'without colons': '{"jsonrpc" "2.0", "method" "tools/call"}',
  'as XML': '<rpc><jsonrpc>2.0</jsonrpc><method>tools/call</method></rpc>',
  'as a table': 'jsonrpc,method\n2.0,tools/call',
  'with a dotless letter': '{"method":"\u0131nitialize"}',
  'with bytes that ASCII does not have': '{"m\u00e9ethod":"tools/\u00e9call"}',
  'of an obsolete A2A': bare.replace('tools/call', 'tasks/sendSubscribe'),
}

const entities = '<!DOCTYPE r [<!ENTITY a "too"><!ENTITY b "ls/call">]>'

/** XML, and escapes that other languages write. */
const otherNotations: Readonly<Record<string, string>> = {
  'with a section of XML': '<r><jsonrpc>2.0</jsonrpc><method>tools<![CDATA[/]]>call</method></r>',
  'in sections of XML': '<method><![CDATA[to]]><![CDATA[ols/c]]>all</method>',
  'with an instruction of XML': '<r><method>tools<?x y?>/call</method></r>',
  'with an element inside': '<r><method>too<b a=">" c="x"/>ls<i>/</i>call</method></r>',
  'with an element inside the name': '<r><key>met<b/>hod</key><string>tools/call</string></r>',
  'with a comment of XML': '<r><method>too<!-- a > b -->ls/call</method></r>',
  'with entities of its own': `${entities}<r><method>&a;&b;</method></r>`,
  'with entities from elsewhere':
    '<!DOCTYPE r SYSTEM "http://a.example/x"><r><method>&a;</method></r>',
  'with entities from elsewhere, as if of HTML':
    '<!DOCTYPE r PUBLIC "-//W3C//DTD XHTML" "http://a.example/x"><r><method>&a;</method></r>',
  'with entities that show nothing': '<method>to&shy;ols/c&zwnj;all</method>',
  'in XML, of every day': '<methodCall><methodName>initialize</methodName></methodCall>',
  'in a table, of every day': 'method,id\ninitialize,1\n',
  'in EDN, of every day': '{:method "initialize" :id 1}',
  'as properties, of every day': 'method ping',
  'as pairs of YAML': '- method\n- ping\n',
  'with decimal escapes': String.raw`{["\109ethod"]="\116ools\047call"}`,
  'with long decimal escapes': String.raw`("\0109ethod", "\x0074ools\o57call")`,
  'with octal escapes of Haskell': String.raw`[("method","\o164ools/call")]`,
  'with gaps': String.raw`{method="too\z   ls/c\   \all", x = "\&"}`,
  'with empty escapes': String.raw`[("method","too\&ls/ca\&ll")]`,
  'with escapes of CSS': String.raw`{"\00006dethod":"\74 ools/call"}`,
  'with long escapes of C': String.raw`{"\x0000006d" "ethod":"\x00074ools/call"}`,
  'with escapes of Java': String.raw`{"\uuu006dethod":"tools/call"}`,
  'with escapes of PowerShell': '@{ "`u{6d}ethod" = "`u{74}ools/call" }',
  'with escapes of Perl': String.raw`{"\Qmet\Ehod"=>"\Ltoo\l\Els/call"}`,
  'with raw strings': 'concat!("met", r#"hod"#): "tools/call"',
  'with a named character that shows nothing': String.raw`{'method': 'to\N{ZERO WIDTH SPACE}ols\N{SOLIDUS}call'}`,
  'with long brackets in parts': '{[ [[met]]..[=[hod]=] ] = [[tools]]..[==[/call]==]}',
  'with a comment of Lua in one line': '{["met"--[[x]].."hod"] = "tools/call"}',
  'with literals of Perl': '{q(met).q!hod! => qq{tools} . qq</call>}',
  'with literals of Ruby': '{%q(met) + %(hod) => %Q|tools| %q[/call]}',
  'with an empty value in a string of Ruby': '{"met#{}hod" => "tools#{}/call"}',
  'with documents of PHP': "[<<<A\nmet\nA . <<<'BB'\nhod\nBB => <<<A\ntools\nA . <<<A\n/call\nA]",
  'in Perl, of every day': 'q(method) => q(ping)',
  'in Ruby, of every day': '{%q(method) => %q(initialize)}',
  'in a document of PHP, of every day': '["method" => <<<EOT_1\nping\nEOT_1]',
  'serialized by PHP, of every day': 'a:1:{s:6:"method";s:4:"ping";}',
  'in an element with attributes, of every day': '<r><method a="b" c="d">ping</method></r>',
  'in attributes, of every day': '<member name="method" value="initialize"/>',
  'in an entry with attributes, of every day': '<entry key="method" type="string">ping</entry>',
  'with an older tag': 'method: !binary dG9vbHMvY2FsbA==\n',
  'with an anchor before a tag': 'method: &a !!binary dG9vbHMvY2FsbA==\n',
  ...Object.fromEntries(
    [...a2aOperations.keys(), ...mcpMethods, ...obsoleteMethods, 'notifications/initialized'].map(
      (method) => [`of ${method}`, `{method: ${method},}`],
    ),
  ),
}

/** Each begins like an escape, and is text to every reader. */
const decoys = ['\\\\N{', '\\\\u{', '\\\\x{', '\\\\o{', '`u{', '&#', '&']
const escapedCall = call.replace('rpc"', 'rp\\u0063"').replace('method', 'm\\u0065thod')
const behindDecoys: Readonly<Record<string, string>> = Object.fromEntries(
  decoys.flatMap((decoy) => [
    [
      `behind ${decoy}`,
      escapedCall.replace('{', `{"x":"${decoy}",`).replace('tools', 't\\u006fols'),
    ],
    [
      `behind ${decoy} in a comment`,
      `# ${decoy}\n"m\\x65thod": "t\\x6fols/call"\nparams: {name: pay};\n`,
    ],
  ]),
)

const forms: Readonly<Record<string, string>> = {
  'as the name of a field': encodeURIComponent(call),
  'as the name of a field, unencoded': `${call}=`,
  'as the value of a field': `data=${encodeURIComponent(call)}`,
  'as the second field': `a=1&payload=${encodeURIComponent(call)}`,
  'as fields': 'jsonrpc=2.0&id=1&method=tools/call',
  'as fields, encoded': '%6Dethod=tools%2Fcall&params=%7B%7D',
  'as nested fields': 'rpc%5Bmethod%5D%5B%5D=tools/call',
  'as a list of everyday words': 'method%5B0%5D=ping',
  'behind a semicolon': 'a=1;method=tools/call',
  'as the value of a field, with blanks': `data=${encodeURIComponent(call.replaceAll('":', `"${' '.repeat(99)}:`))}`,
  'encoded twice': `data=${encodeURIComponent(encodeURIComponent(call))}`,
  'behind half an escape': 'x=%5CN%7B&jsonrp%63=2.0&id=1&m%65thod=t%6fols/call&y=%7D',
  'with single quotes': `data=${encodeURIComponent(call.replaceAll('"', "'"))}`,
}

const plain = { to: 'echo', contentType: 'text/plain' } as const
const untyped: Partial<Draft> = {
  edit: (lines) => lines.filter((line) => !line.startsWith('Content-Type')),
}
const session: HeaderList = [['Mcp-Session-Id', 'a'.repeat(32)]]
const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
const send1 = call.replace('tools/call', 'message/send')

/** Requests whose own operation is decided on while the receiver may go by the query. */
const besideQuery: Readonly<Record<string, Partial<Draft>>> = {
  nothing: { body: null, method: 'GET' },
  'other JSON': {},
  'another call': { body: ping },
  'an answer': { body: '{"jsonrpc":"2.0","id":1,"result":{}}', headers: session },
  'a stream': { body: null, method: 'GET', headers: session },
  'the end of a session': { body: null, method: 'DELETE', headers: session },
  text: { body: 'text', contentType: 'text/plain' },
}
const besideHeader: Readonly<Record<string, Partial<Draft>>> = {
  'other JSON': {},
  'a call of A2A': { body: send1 },
  'a path of A2A': { path: '/v1/message:send', body: '{}' },
  'a card': { path: '/.well-known/agent-card.json', body: null, method: 'GET' },
  'a stream': { body: null, method: 'GET', headers: session },
  text: { body: 'text', contentType: 'text/plain' },
}

const drafts: Readonly<Record<string, Draft>> = {
  ...named(
    'as text',
    { ...notations, ...rareNotations, ...otherNotations, ...behindDecoys },
    plain,
  ),
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
  ...Object.fromEntries(
    ['/?method=tools/call', '/?a=%7b%22method%22:%22tools/call%22%7d', '/v1?rpc[method]=tools/call']
      .flatMap((path) =>
        Object.entries(besideQuery).map(([way, each]) => [path, way, each] as const),
      )
      .map(([path, way, each]) => [
        `in the query ${path} next to ${way}`,
        { to: 'echo', ...each, path },
      ]),
  ),
  'in the query of a list of tasks': {
    path: '/tasks?method=tools/call',
    body: null,
    method: 'GET',
  },
  'in the query of a message': { path: '/message:send?jsonrpc=2.0&method=tools/call', body: '{}' },
  'in the query of a card': {
    path: '/.well-known/agent-card.json?method=tools/call',
    body: null,
    method: 'GET',
  },
  ...Object.fromEntries(
    [
      ...['"tools\\u0000/call"', '"tools/call "', '"/tools/call"', '"Tools/Call"', '"tools.call"'],
      ...['"send_message"', '"message/Send"', '"a2a.v1.A2AService/SendMessage"', '"tasks/send"'],
      ...['"tasks/sendSubscribe"', '"\\u0131nitialize"', '"lf.a2a.v1.A2AService/SendMessage"'],
      ...['"tools%2Fcall"', '"AgentService/SendMessage"', '"rpc.tools/call"', '"tools/call?x"'],
      ...['"tools/call#x"', '"tools\\\\/call"', '"a2a.SendMessage"', '"rpc.tools.call"'],
    ].flatMap((method) => [
      [
        `with the method ${method}`,
        { to: 'echo', body: `{"jsonrpc":"2.0","id":1,"method":${method}}` },
      ],
      [
        `without a version, with the method ${method}`,
        { to: 'echo', body: `{"method":${method}}` },
      ],
    ]),
  ),
  ...Object.fromEntries(
    [
      '"jsonrpc "',
      '" jsonrpc"',
      '"json-rpc"',
      '"JSON_RPC"',
      '"jsonrpc\\u200b"',
      '"json\\u0000rpc"',
    ].map((name) => [
      `with the version under ${name}`,
      { to: 'echo', body: `{${name}:"2.0","id":1,"method":"unheard/of"}` },
    ]),
  ),
  ...Object.fromEntries(
    [
      ['Mcp-Method', 'tools/call'],
      ['Mcp-Name', 'pay'],
      ['Mcp-Param-Amount', '1'],
    ].flatMap(([name = '', value = '']) =>
      Object.entries(besideHeader).map(([way, each]) => [
        `with ${name} next to ${way}`,
        { to: 'echo', ...each, headers: [[name, value], ...(each.headers ?? [])] },
      ]),
    ),
  ),
  'with a method of neither protocol': {
    to: 'echo',
    body: '{"jsonrpc":"2.0","id":1,"method":"onSendMessage","params":{}}',
  },
  ...Object.fromEntries(
    [
      ...['/x;jsonrpc=2.0;method=SendMessage;id=1', '/x%3fjsonrpc=2.0&method=SendMessage&id=1'],
      ...['/x%253Bmethod=tools/call', '/x;m%65thod=t%6fols%2fcall/y'],
    ].map((path) => [`in parameters of ${path}`, { to: 'echo', path, body: null, method: 'GET' }]),
  ),
  'in a list of other things': { to: 'echo', body: `[1,{"a":1},${call}]` },
  'in a list in a list': { to: 'echo', body: `[[${bare}]]` },
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
  'by a path next to another call': {
    to: 'echo',
    path: '/v1/tasks/42:cancel',
    body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
  },
  'with a list for its method': { to: 'echo', body: '{"method":["tools/call"],"id":1}' },
  'with a list for its method, and a version': {
    to: 'echo',
    body: '{"jsonrpc":"2.0","method":[["tools/call"]],"id":1}',
  },
  'by a path of gRPC': { to: 'echo', path: '/a2a.v1.A2AService/SendMessage', body: '{}' },
  'by a path of gRPC, spelled': { to: 'echo', path: '/x/lf.a2a.v1.A2A%53ervice/sendmessage;a=1' },
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
  (transport: 'gateway' | 'mesh', draft: Draft): Attempt =>
  async (world) => {
    const before = world.echo.reached.length
    const heard = await send(world[transport], draft)
    expect(world.echo.reached.slice(before)).toEqual([])
    expect(codes, `refused as ${refusalOf(heard)}`).toContain(refusalOf(heard))
    const code = refusalOf(heard) as RefusalCode
    await expectRefused(world, transport, { code, attempt: () => Promise.resolve(heard) })
  }

/** Ordinary text passes, even with the same words. */
const harmless: readonly string[] = [
  'The preferred method is to ping you first; initialize nothing.',
  'Our payment method: card. Please call.',
  'jsonrpc is a method of calling',
  'We use message/send where others poll.',
  '{"method":"card","tools":["call"]}',
  'a=1&method=card',
  'Hello %tag%, welcome; note=100%25tagged',
  'set %TAG%=1, and write !binary values as YAML has them',
  'the tools{ and \\u{ of a method, \\N{x} and 100 % of C:\\09\\notes',
  '<!DOCTYPE html><form method="post"><a href="ping">ping</a> &amp; <b>call</b></form>',
  '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "http://www.w3.org/TR/x"><p>our method',
  'if (a && method(b)) initialize(); // & a method to ping',
]
/** Lists in JSON are data unless some reader finds a message in one. */
const harmlessLists: readonly string[] = [
  '[]',
  '[1,2,3]',
  '[{"id":1},{"id":2}]',
  '[{"op":"replace","path":"/a","value":1}]',
  '[{"method":"card","amount":1}]',
]

const passes =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const body of harmless) {
      const heard = await send(world[transport], { ...plain, body })
      expect({ body, refusal: refusalOf(heard) }).toEqual({ body, refusal: null })
    }
    for (const body of harmlessLists) {
      const heard = await send(world[transport], { to: 'echo', body })
      expect({ body, refusal: refusalOf(heard) }).toEqual({ body, refusal: null })
    }
    for (const path of ['/?q=100%25tags', '/x;v=1;lang=de?method=card']) {
      const heard = await send(world[transport], { to: 'echo', path, body: null, method: 'GET' })
      expect({ path, refusal: refusalOf(heard) }).toEqual({ path, refusal: null })
    }
  }

/** JSON has numbers that no double holds: a refusal must not answer another call. */
const ids: Readonly<Record<string, unknown>> = {
  '7': 7,
  '"7"': '7',
  '12345678901234567890': null,
  '9007199254740993': null,
  '-9007199254740993': null,
  '1.5': null,
}
const answersId =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const [raw, id] of Object.entries(ids)) {
      const body = `{"jsonrpc":"2.0","id":${raw},"method":"tools/call","params":{"name":"delete"}}`
      const heard = await send(world[transport], { to: 'mcp', body })
      expect({ raw, ...JSON.parse(heard.body.toString()) }).toMatchObject({ raw, id })
    }
  }

/** A2A over plain HTTP is decided on by its operations, under whatever spelling of their paths. */
const byPath: Readonly<Record<string, string>> = {
  '/message:send': 'SendMessage',
  '/v1/message:stream': 'SendStreamingMessage',
  '/message%3Asend': 'SendMessage',
  '/Message:Send': 'SendMessage',
  '/message:send/': 'SendMessage',
  '/acme/message:send': 'SendMessage',
  '/v1/acme/message:send': 'SendMessage',
  '/deep/in/an/application/message:send': 'SendMessage',
}

const operations =
  (transport: 'gateway' | 'mesh'): Attempt =>
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
  'and a refusal answers no other id': answersId(transport),
})

attack(
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

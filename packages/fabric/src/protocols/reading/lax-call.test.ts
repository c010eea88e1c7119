import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { classifyRequest } from '../classify.ts'
import { mayHoldCall } from './lax-call.ts'
import type { RouteProtocol } from './route-protocol.ts'
import { unescapeAll } from './unescape-all.ts'

const root = join(import.meta.dirname, '../../../../..')

const triplesOf = <T>(all: readonly T[]): readonly (readonly [T, T, T])[] =>
  all.flatMap((a) => all.flatMap((b) => all.map((c) => [a, b, c] as const)))

describe('mayHoldCall', () => {
  test.each([
    'The preferred method is to ping you first; initialize nothing.',
    'Our payment method: card. Shipping method: express. Please call, or send a message.',
    'Contact method: push notification. Notifications/alerts: by e-mail.',
    'We get the task done with a method of our own. What we get (today) is a task.',
    '{"order":{"id":7,"method":"invoice","items":[{"sku":"A-1","count":2}]}}',
    '{"method":"card","tools":["call"]}',
    'a=1&method=card&message=send+me+a+list+of+resources',
    '<form method="post" action="/resources/42"><input name="tools"></form>',
    'GET /resources/7 HTTP/1.1, the method that reads a resource',
    "const method = 'POST'; function initialize() { ping(); return this.method }",
    'fetch(url, { method: "POST" }).then(initialize) // ping',
    'C:\\tools\\new\\method & 100 % of 25 %20 \\ \\\\ \\u12 &amp; &nbsp; &#xZ; %zz',
    '\\'.repeat(100),
    '%'.repeat(100),
    'if (a && method(b)) initialize(); // & a method to ping',
    'The method! Tags (of a kind) & anchors; then we ping, and initialize it.',
    'Use this method to send (message, options) or to get task names.',
    'method(sock) {\n  client.send(message)\n  cancel()\n  task.end()\n}',
    '/* the method\n * of resources\n * lists them; list */ const n = resources / list',
    '/**\n * @param method: * one\n * initialize it, ping() it\n */',
    'route(path, method, done); ping.length; const initialize = 1',
    'The method initializes it. A method pinging others, the method-initialized field.',
    '<form method="get" class="x" action="/"><input name="a" value="ping"></form>',
    "{method: 'GET', url: '/ping'}",
    'cat <<EOF\nUse a method\nto ping hosts\nEOF\n',
    'std::vector<method> v; x << (list[i[0]]); ping<int>()',
    '',
  ])('finds no call in %j', (text) => {
    expect(mayHoldCall(text)).toBe(false)
  })

  test('finds calls in few of the documents of this repository, all of which speak of calls', () => {
    const pages = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => ({ name, text: readFileSync(join(root, 'docs', name), 'utf8') }))
    const found = pages.filter(({ text }) => mayHoldCall(text))
    expect(found.filter(({ text }) => !/json-?rpc|method/i.test(text))).toEqual([])
    expect(found.length).toBeLessThan(pages.length / 4)
  })

  test('finds a call through any stack of escapes', () => {
    const layers: readonly ((text: string) => string)[] = [
      (text) => encodeURIComponent(text),
      (text) => JSON.stringify(text),
      (text) => text.replaceAll('m', '\\u006d'),
      (text) => text.replaceAll('e', '&#101;'),
      (text) => text.replaceAll('t', '\\164'),
      (text) => text.replaceAll('o', '%6f'),
      (text) => text.replaceAll('a', '\\x61'),
      (text) => text.replaceAll('d', '\\U00000064'),
    ]
    const stack = fc.array(fc.constantFrom(...layers), { maxLength: 5 })
    fc.assert(
      fc.property(stack, (chosen) => {
        const text = chosen.reduce((inner, layer) => layer(inner), '{"method":"tools/call"}')
        expect(mayHoldCall(text)).toBe(true)
      }),
    )
  })

  test('finds a call in parts, whichever literals hold them', () => {
    const literals: readonly ((text: string) => string)[] = [
      (text) => `"${text}"`,
      (text) => `[[${text}]]`,
      (text) => `[==[${text}]==]`,
      (text) => `q(${text})`,
      (text) => `qq {${text}}`,
      (text) => `q!${text}!`,
      (text) => `%q<${text}>`,
      (text) => `%(${text})`,
      (text) => `%Q|${text}|`,
      (text) => `<<<X\n${text}\nX`,
      (text) => `<<<'LONG_NAME'\n${text}\nLONG_NAME`,
    ]
    const decoys = [
      '',
      '< ',
      '"<" ',
      '<a ',
      '<<< ',
      '<<<A\n',
      'q ',
      's:1:',
      '%',
      '[[',
      '// x\n',
      '& ',
    ]
    const literal = fc.constantFrom(...literals)
    const place = fc.nat(12)
    fc.assert(
      fc.property(
        fc.constantFrom(...decoys),
        fc.array(literal, { minLength: 4, maxLength: 4 }),
        fc.constantFrom('.', '..', ' + ', ' ', ' --[[x]] .. ', '\n.\n'),
        fc.constantFrom('tools/call', 'SendMessage', 'tasks/get'),
        place,
        place,
        (decoy, [a, b, c, d], joint, method, at, to) => {
          const cut = (text: string, by: number, one = a, two = b) => {
            const first = 1 + (by % (text.length - 1))
            return `${one?.(text.slice(0, first))}${joint}${two?.(text.slice(first))}`
          }
          const text = `${decoy}{${cut('method', at)} => ${cut(method, to, c, d)}}`
          expect(mayHoldCall(text)).toBe(true)
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('finds the words of every day behind whatever opens a literal or ends a name', () => {
    const held: readonly ((value: string) => string)[] = [
      (value) => `{q(method) => qq{${value}}}`,
      (value) => `{q {method} => q !${value}!}`,
      (value) => `{%q(method) => %Q[${value}]}`,
      (value) => `{%s(method) => %(${value})}`,
      (value) => `{[ [[method]] ] = [==[${value}]==]}`,
      (value) => `["method" => <<<'LONG_NAME'\n  ${value}\n  LONG_NAME]`,
      (value) => `a:1:{s:6:"method";s:${value.length}:"${value}";}`,
      (value) => `O:8:"stdClass":1:{S:6:"method";S:${value.length}:"${value}";}`,
      (value) => `<method a="b">${value}</method>`,
      (value) => `<a:method\n xmlns:a='urn:x'\n b=">x" c="d">${value}</a:method>`,
      (value) => `<method a="b"><string c="d">${value}</string></method>`,
      (value) => `<member name="method" value="${value}"/>`,
      (value) => `<entry key="method" type="string">${value}</entry>`,
    ]
    const values = ['ping', 'initialize', 'notifications/initialized']
    for (const [at, hold] of held.entries()) {
      for (const value of values) expect([at, mayHoldCall(hold(value))]).toEqual([at, true])
    }
  })

  test('text that is not an escape does not hide a call, wherever it stands', () => {
    const decoys =
      '\\N{ \\u{ \\x{ \\o{ \\N{a \\u{6d, `u{ &# &#x &am & % %u %2 \\ \\u \\U \\x { } ; ( [ ! * /* //'
    const decoy = fc.array(fc.constantFrom(...decoys.split(' ')), { maxLength: 4 })
    const escaped = String.raw`"jsonrp\u0063":"2.0","m\x65thod":"t%6fols/c&#97;ll"`
    fc.assert(
      fc.property(decoy, decoy, fc.boolean(), (before, behind, isNested) => {
        const text = `{"${before.join('')}":1,${escaped},"x":"${behind.join('')}"}`
        expect(mayHoldCall(isNested ? JSON.stringify(text) : text)).toBe(true)
        expect(mayHoldCall(`# ${before.join('')}\n${escaped}\n# ${behind.join('')}}`)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  test('reads what would be long for an expression that tries again in one pass', () => {
    const pieces = ['\n', ':\n', '- ', ':&a', '<!DOCTYPE ', 'SYSTEM ', '\\u{', '\\1', '&a<b', ',"']
    for (const piece of pieces) expect(mayHoldCall(piece.repeat(200_000))).toBe(false)
  })

  test('reads a token of many tags, and a letter with many marks, in one pass', () => {
    // Read from each tag again, or sorted mark by mark, either would take minutes.
    for (const end of ['"', "'", '""', "'&a"]) {
      expect(mayHoldCall(`x${`!binary${end}`.repeat(100_000)}`)).toBe(false)
    }
    const marks = '\u0301'.repeat(500_000) + '\u0323'.repeat(500_000)
    expect(mayHoldCall(`a method to ping a${marks}`)).toBe(false)
  })

  test('reads a run of any two signs in one pass', () => {
    const signs = [
      ...['!binary', '%TAG', '<!DOCTYPE', 'SYSTEM', 'PUBLIC', 'method', 'ping', 'x', '1'],
      ...['"', "'", '+', ' ', '\n', ',', ':', '&', '*', '\\', '%', '<', '{', '\u0301', '\uff9e'],
    ]
    for (const one of signs) {
      for (const other of signs) {
        const run = (one + other).repeat(24_000 / (one.length + other.length))
        expect(mayHoldCall(`${run}x`)).toBe(mayHoldCall(`${run}${run}x`))
      }
    }
  })

  test('finds a call in three layers of escapes, however many decoys stand before it', () => {
    const hex = (sign: string, width: number) =>
      sign.charCodeAt(0).toString(16).padStart(width, '0')
    const families: readonly ((sign: string) => string)[] = [
      (sign) => `\\u${hex(sign, 4)}`,
      (sign) => `\\x${hex(sign, 2)}`,
      (sign) => `\\${hex(sign, 1)} `,
      (sign) => `%${hex(sign, 2)}`,
      (sign) => `&#${sign.charCodeAt(0)};`,
    ]
    const decoys = [
      '%25%32%35 %5cx41 %26#x41; &#37;41 &#92;74 \\045\\45 1 ',
      '%2525256 %5c92;x68 \\5c70 \\0921 &#37;26 %26#x5c;45 \\x37 ',
    ]
    for (const decoy of decoys) {
      for (const [outer, middle, inner] of triplesOf(families)) {
        const hidden = (text: string) =>
          [inner, middle, outer].reduce((all, escape) => Array.from(all, escape).join(''), text)
        const call = `{"${hidden('method')}":"${hidden('tasks/get')}"}`
        expect(mayHoldCall(`/* ${decoy} */${call}`), call).toBe(true)
      }
    }
  })

  test('finds a call whatever stands between its letters', () => {
    const gap = fc.constantFrom(
      '',
      '"',
      "'",
      '" "',
      '"\n"',
      "'+'",
      "' + u'",
      '" || ("',
      '\\\n',
      '\\z  ',
      '/*x*/',
      '//x\n',
      '#x\r',
      '\u200b',
    )
    const gaps = fc.array(gap, { minLength: 30, maxLength: 30 })
    fc.assert(
      fc.property(gaps, (chosen) => {
        const text = Array.from('method:tools/call', (one, i) => `${one}${chosen[i] ?? ''}`)
        expect(mayHoldCall(`"${text.join('')}"`)).toBe(true)
      }),
    )
  })
})

/** The ways to write all signs of a text in one family of escapes, each as a reader undoes it. */
const hex = (sign: string, width: number): string =>
  sign.charCodeAt(0).toString(16).padStart(width, '0')
const spellings: Readonly<Record<string, (text: string) => string>> = Object.fromEntries(
  Object.entries<(sign: string) => string>({
    '\\u': (sign) => `\\u${hex(sign, 4)}`,
    '\\u{}': (sign) => `\\u{${hex(sign, 1)}}`,
    '\\U': (sign) => `\\U${hex(sign, 8)}`,
    '\\x': (sign) => `\\x${hex(sign, 2)}`,
    octal: (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, '0')}`,
    decimal: (sign) => `\\${String(sign.charCodeAt(0)).padStart(3, '0')}`,
    css: (sign) => `\\${hex(sign, 1)} `,
    percent: (sign) => `%${hex(sign, 2)}`,
    '%u': (sign) => `%u${hex(sign, 4)}`,
    entity: (sign) => `&#${sign.charCodeAt(0)};`,
    'hexadecimal entity': (sign) => `&#x${hex(sign, 1)};`,
  }).map(([name, of]) => [name, (text) => Array.from(text, of).join('')]),
)
const families = Object.entries(spellings)

test.each(families)('%s hides no call around any other escape', (outer, hide) => {
  for (const [inner, spell] of families) {
    const write = (text: string): string => hide(spell(text))
    const text = `{"${write('method')}":"${write('tasks/get')}"}`
    expect(mayHoldCall(text), `${inner} in ${outer}`).toBe(true)
    expect(mayHoldCall(JSON.stringify(text)), `${inner} in ${outer}, in a string`).toBe(true)
  }
})

test.each([
  String.raw`{["method"]="t\111ols/\x63all"}`,
  String.raw`{"method":"t\x006fols/\143all"}`,
  String.raw`{"method":"\N{REVERSE SOLIDUS}x74ools/call"}`,
  String.raw`{"method":"%7\N{DIGIT FOUR}ools/call"}`,
  String.raw`{"method":"\N{AMPERSAND}#116;ools/call"}`,
  String.raw`{method => "\x{7_4}ools/call"}`,
  String.raw`{"method":"\uff0574ools/call"}`,
  '{"method":"%EF%BC%8574ools/call"}',
  '\u{1d426}ethod,id\nping,1\n',
  'id,\ufeffme\u200bthod\n1,ping\n',
  `method: &${'a'.repeat(500)} !!binary dG9vbHMvY2FsbA==`,
  `<!DOCTYPE r PUBLIC "-//it's//EN" "http://evil.example/x.dtd"><r>&m;</r>`,
])('%s may hold a call', (text) => {
  expect(mayHoldCall(text)).toBe(true)
})

describe('unescapeAll', () => {
  test.each([
    ['plain text', 'plain text'],
    ['\\u006d\\x6D\\155%6d&#109;&#x6d;', 'mmmmmm'],
    ['%2525256d', 'm'],
    ['\\u{0000000006d}\\u{6d 65}', 'mme'],
    ['\\N{latin small letter m}\\N{SOLIDUS}\\N{DIGIT ONE}', 'm/1'],
    ['%C5%BF%EF%BD%8D', 'ſｍ'],
    ['&amp;amp;#109', 'm'],
    ['\\u{ \\u{6d}} \\N{x\\u{6d}} `u{6d}', '\\u{ m} \\N{xm} m'],
    ['\\u{6d"} \\x{} \\o{9} \\N{any words}', '\\u{6d"} \\x{} \\o{9} \\N{any words}'],
    ['\\u{\\u{36}d}', 'm'],
    ['\\U0000006d\\u00e9', 'mé'],
    ['%zz \\q &x ;', '%zz \\q &x ;'],
  ])('%s is %j', (text, plain) => {
    expect(unescapeAll(text)).toBe(plain)
  })

  test('never gives more than it was given', () => {
    const piece = fc.constantFrom(...'%\\&#;{}uUxoN0123456789abcdefm \u00c3\u00a9'.split(''))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = pieces.join('')
        expect(unescapeAll(text).length).toBeLessThanOrEqual(text.length)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('classifyRequest', () => {
  const read = (protocol: RouteProtocol) => {
    const headers = new Map([['content-type', 'text/plain']])
    const head = { method: 'POST', path: '/?method=tools/call', authority: 'a', headers }
    return classifyRequest({ head, body: Buffer.from("{'method':'tools/call'}") }, '/', protocol)
  }

  test('text with the words of a call passes on a route of protocol http', () => {
    expect(read('http')).toMatchObject({ protocol: 'http', operation: 'POST' })
  })

  test.each(['auto', 'a2a', 'mcp'] as const)(
    'and is refused on one of %s, with advice',
    (protocol) => {
      const answer = read(protocol)
      expect(answer).toBeInstanceOf(Refusal)
      expect(answer).toMatchObject({ code: 'CONTENT_UNSUPPORTED' })
      expect((answer as Refusal).detail).toContain('set the protocol of its route to http')
    },
  )
})

test('a run of line ends is read once, and hides no tag', () => {
  // Tried from each of them, a million would take an hour.
  for (const sign of ['\n', '\r\n', '\u2028', ' ', '+', ':', ',']) {
    const run = sign.repeat(1_000_000)
    expect(mayHoldCall(`${run}x`)).toBe(false)
    expect(mayHoldCall(`a:${run} !!binary bWV0aG9k`)).toBe(true)
  }
})

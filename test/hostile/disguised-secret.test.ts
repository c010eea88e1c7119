import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const tail = 'zQ8tail77'
const secret = `Ab1${tail}`
const nested = (value: unknown, layers: number): string =>
  layers === 0 ? JSON.stringify(value) : JSON.stringify({ a: nested(value, layers - 1) })

interface Hiding {
  readonly body: string
  readonly contentType?: string
}
const text = (body: string, contentType = 'text/plain'): Hiding => ({ body, contentType })

const hidings: Readonly<Record<string, Hiding>> = {
  'under a name of another alphabet, three layers deep': { body: nested({ пароль: secret }, 3) },
  'under a short name, two layers deep': { body: nested({ pin: secret }, 2) },
  'under a styled name': { body: JSON.stringify({ '\u{1d429}assword': secret }) },
  'in an object under its name': { body: JSON.stringify({ adminPassword: { value: secret } }) },
  'before its name, two layers deep': { body: nested({ value: secret, name: 'password' }, 2) },
  'in an argument list': { body: JSON.stringify({ args: ['login', '--password', secret] }) },
  'in a list of pairs': {
    body: JSON.stringify({
      a: [
        ['user', 'jane'],
        ['password', secret],
      ],
    }),
  },
  'behind a name that imitates a marker': {
    body: JSON.stringify({ name: '[PROD] password', value: secret }),
  },
  'in an imitated marker': { body: JSON.stringify({ password: `[ABC ${secret}]` }) },
  'next to a name that begins with a verb': {
    body: JSON.stringify({ env: [{ name: 'READ_DB_PASSWORD', value: secret }] }),
  },
  'next to a weaker name': {
    body: JSON.stringify({ type: 'token', name: 'password', value: secret }),
  },
  'below a weaker name': { body: JSON.stringify({ secrets: { token: secret } }) },
  'in an object below credentials': {
    body: JSON.stringify({ credentials: { github: secret } }),
  },
  'in a JSON patch': {
    body: JSON.stringify({ patch: [{ op: 'add', path: '/password', value: secret }] }),
  },
  'behind a comma': text(`password=Ab1,${tail}`),
  'next to the value of another field': text(`{title: 'password: ${secret}', content: 'ok'}`),
  'next to the value of another field, in a string': {
    body: nested({ title: `password: ${secret}`, content: 'ok' }, 1),
  },
  'behind another field of a log': text(`type=login password=${secret} data=1`),
  'behind the state of a selector': text(`DB_PASSWORD=root:${secret}`),
  'behind a word that begins like a state': text(`password: isabella.${secret}`),
  'behind the signs of a comparison': text(`DB_PASSWORD==${secret}`),
  'behind the signs of a match': text(`Server=x;Password=~${secret};DB=y`),
  'behind a hyphen in an option': text(`run --password=-${secret} --x`),
  'behind the sign of a here-document': text(`password: <<${secret}`),
  'behind a quoted apostrophe in a command': text(`mysql -p'Ab1'"'"'${secret} ' x`),
  'behind an apostrophe that begins it': text(`sshpass -p ''"'"'${secret}' ssh h`),
  'in a command in quotes': text(`ssh h 'curl -u '"'"'jane:${secret}'"'"' https://x'`),
  'behind what begins like code': text(`password: ??${secret}`),
  'behind a name and a comment sign': text(`password=api_key#${secret}`),
  'in a default of a call': text(`password = os.getenv("P", "${secret}")`),
  'in a list in a text': text(`password: ["${secret}"]`),
  'behind a closing quote': text(`PASSWORD="abcd"-${secret}`),
  'under a name in percent signs': { body: JSON.stringify({ '%70assword': secret }) },
  'behind a name of several words': text(`Mot de passe: ${secret}`),
  'behind a marker': { body: JSON.stringify({ password: `[CREDENTIAL]${secret}` }) },
  'behind an ampersand': text(`password=Ab1&${tail}`),
  'behind an escaped quote': text(`password="Ab1\\"${tail}"`),
  'behind a doubled quote': text(`password: 'Ab1''${tail}'`, 'text/yaml'),
  'behind blanks': text(`password: correct horse ${tail}`),
  'behind a dollar sign': text(`password=$ecret1${tail}`),
  'in a block scalar': text(`password: |\n  first\n  ${tail}\nuser: jane\n`, 'text/yaml'),
  'in an element with an attribute': text(
    `<password encrypted="false">\n  ${secret}\n</password>`,
    'text/xml',
  ),
  'in an element with another value': text(
    `<password value="abcd1x">${secret}</password>`,
    'text/xml',
  ),
  'in the second attribute': text(`<password id="1" value="${secret}"/>`, 'text/xml'),
  'in CDATA with signs of markup': text(
    `<password><![CDATA[ab<12]${secret}>]]></password>`,
    'text/xml',
  ),
  'in CDATA': text(`<password><![CDATA[Ab1]${tail}]]></password>`, 'text/xml'),
  'in an element in an element': text(`<password><value>${secret}</value></password>`, 'text/xml'),
  'in another attribute': text(`<add value="${secret}" key="password"/>`, 'text/xml'),
  'next to its name in a form': text(
    `name=password&value=${secret}`,
    'application/x-www-form-urlencoded',
  ),
  'next to its name in a query': {
    body: JSON.stringify({ a: `/x?value=${secret}&name=password` }),
  },
  'before its name in elements': text(
    `<p><value>${secret}</value><name>password</name></p>`,
    'text/xml',
  ),
  'in a row of cells': text(`name,value\npassword,${secret}`, 'text/csv'),
  'in a part of a multipart text': text(
    `--b\nContent-Disposition: form-data; name="password"\n\n${secret}\n--b--`,
  ),
  'some lines behind its name': text(`name: password\ntype: x\nvalue: ${secret}`, 'text/yaml'),
  'behind a name with a note': text(`password (db): ${secret}`),
  'behind a name with a slash': text(`password/db = ${secret}`),
  'in a call that sets it': text(`define('DB_PASSWORD', '${secret}');`, 'text/php'),
  'on a command line': { body: JSON.stringify({ run: `curl -u jane:${secret} https://h` }) },
  'below a backslash': text(`password = abcd1\\\n  ${tail}`),
  'under a name in octal escapes': { body: JSON.stringify({ a: `p\\141ssword=${secret}` }) },
  'under a name with an escape near its end': { body: JSON.stringify({ 'sec%72et': secret }) },
  'next to a name with an escape in a form': text(
    `name=passw%6Frd&value=${secret}`,
    'application/x-www-form-urlencoded',
  ),
  'behind a name in two layers of backslashes': text(`p\\\\u0061ssword=${secret}`),
  'behind a name that goes on in the next line': text(`pass\\\nword=${secret}`),
  'under a name in references with zeros': text(`pass&#0000000119;ord=${secret}`),
  'under a name in an escape within an escape': text(`pass&#11%39;ord=${secret}`),
  'next to a name with a word before it': text(
    `<add key="Login Password" value="${secret}"/>`,
    'text/xml',
  ),
  'next to a name in brackets': text(`name=user[password]\nvalue=${secret}`),
  'behind a name and a word for a variant': text(`**Password old**: ${secret}`),
  'behind a name in words joined in two ways': text(`mot_de passe: ${secret}`),
  'next to its name in a query of JSON in a string': {
    body: JSON.stringify({ a: JSON.stringify({ b: `/x?name=password&value=${secret}` }) }),
  },
  'next to its name in a literal': text(`q = "name=password;value=${secret}"`),
  'behind a switch in a list in a string': {
    body: JSON.stringify({ a: JSON.stringify({ run: 'x', args: ['-u', `jane:${secret}`] }) }),
  },
  'in a switch of a list': { body: JSON.stringify(['xfreerdp', `/p:${secret}`, '/v:h']) },
  'under a name in braces': { body: JSON.stringify({ a: `p\\u{61}ssword=${secret}` }) },
  'in a query behind a semicolon': { body: JSON.stringify({ a: `https://h/?a=1;pass=${secret}` }) },
  'in a list under a quoted name': text(`{'password': ['${secret}'], 'n': 1}`),
  'in a list under a quoted name in a string': {
    body: JSON.stringify({ a: `{'X-Api-Key': ['${secret}']}` }),
  },
  'in a call under a quoted name': text(`"password": os.environ.get("X", "${secret}"),`),
  'in a choice behind a name in brackets': text(`$c['password'] = $x ?: '${secret}';`),
  'next to its name in a block': text(`- name: PASSWORD\n  value: |\n    ${secret}\n`),
  'next to its name in a here-document': text(`name = "password"\nvalue = <<E\n${secret}\nE\n`),
  'in a block behind a tag': text(`password: !!str |\n  ${secret}\n`),
  'in a here-document behind a prefix of its label': text(`password=<<EOF\nEOFx\n${secret}\nEOF\n`),
  'in a here-document of PHP': text(`'password' => <<<'EOT'\n  ${secret}\n  EOT,`),
  'in a literal with hashes': text(`let password = r#"my\n"${secret}"#;`),
  'next to a name in words of its own': {
    body: JSON.stringify([{ ParameterKey: 'DBPassword', ParameterValue: secret }]),
  },
  'below its name in a form': text(
    `user[password][github]=${secret}`,
    'application/x-www-form-urlencoded',
  ),
  'behind its name and a point in a form': text(
    `password.github=${secret}`,
    'application/x-www-form-urlencoded',
  ),
  'below its name in brackets': { body: JSON.stringify({ 'password[github]': secret }) },
  'under what ends as a description does': {
    body: JSON.stringify({ passwords: { android: secret } }),
  },
  'in indented lines of base64': text(
    `  ${
      Buffer.from(`my password=${secret}`)
        .toString('base64')
        .match(/.{1,12}/g)
        ?.join('\n  ') ?? ''
    }`,
  ),
  'in a form': text(`user=jane&encryption_key=${secret}`, 'application/x-www-form-urlencoded'),
}

const hide =
  (transport: 'gateway' | 'mesh', hiding: Hiding): Attempt =>
  async (world) => {
    const { body, contentType = 'application/json' } = hiding
    const asked = await send(world[transport], { to: 'masked', ...hiding })
    expect(asked.status).toBe(200)
    expect(world.echo.reached.at(-1)?.body.toString()).not.toContain(tail)
    const answered = await world.echo.during(
      (_, response) => response.writeHead(200, { 'content-type': contentType }).end(body),
      () => send(world[transport], { to: 'masked' }),
    )
    expect(answered.status).toBe(200)
    expect(answered.body.toString()).not.toContain(tail)
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(hidings).map(([way, each]) => [way, hide(transport, each)]))

attack(
  verifies(['inspect:mask', 'inspect:response'], 'a secret is masked by its name, both ways'),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'the sender masks before it seals',
  },
)

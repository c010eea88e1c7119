import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * A place can be read in two ways: a name in a value belongs to the value next to it, and to what
 * the same value gives it. Neither reading takes the place of the other.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'text/plain'): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const secret = 'Hunter2Xyz99'
const namings = 'name title label key path field type option id header attribute default'.split(' ')
const holdings = 'value content text data body default values val'.split(' ')
const statements = [
  `password: ${secret}`,
  `password=${secret}`,
  `password is ${secret}`,
  `db password = ${secret}`,
  `--password ${secret}`,
]

type Write = (naming: string, statement: string, other: readonly [string, string]) => string
const notations: Readonly<Record<string, Write>> = {
  'an object of a program': (n, v, [key, other]) => `{${n}: '${v}', ${key}: '${other}'}`,
  'a call with names': (n, v, [key, other]) => `f(${n}="${v}", ${key}="${other}")`,
  'a member of a list': (n, v, [key, other]) => `- ${n}: ${v}\n  ${key}: ${other}\n`,
  'a line of a log': (n, v, [key, other]) => `${n}="${v}" ${key}="${other}"`,
  'a line of a log, the other first': (n, v, [key, other]) => `${key}="${other}" ${n}="${v}"`,
  'lines of settings': (n, v, [key, other]) => `${n} = "${v}"\n${key} = "${other}"\n`,
  attributes: (n, v, [key, other]) => `<i ${n}="${v}" ${key}="${other}"/>`,
  elements: (n, v, [key, other]) => `<i><${n}>${v}</${n}><${key}>${other}</${key}></i>`,
  'a query': (n, v, [key, other]) => `https://x/?${n}=${encodeURIComponent(v)}&${key}=${other}`,
  'an object of JSON': (n, v, [key, other]) => JSON.stringify({ [n]: v, [key]: other }),
}

describe.each(Object.entries(notations))('in %s', (_, write) => {
  test('a value next to a name does not hide the value that the name is given', () => {
    const left: string[] = []
    for (const naming of namings) {
      for (const holding of holdings.filter((key) => key !== naming)) {
        for (const statement of statements) {
          for (const other of ['ok', '12', 'abcdef']) {
            const text = write(naming, statement, [holding, other])
            const member = mask(JSON.stringify({ text }), 'application/json')
            if (mask(text).includes(secret) || member.includes(secret)) left.push(text)
          }
        }
      }
    }
    expect(left).toEqual([])
  })
})

test.each([
  `level=info type=login password=${secret} data=1`,
  `data=1 type=login password=${secret}`,
  `id=7 password=${secret} text=hi`,
  `run --name=web --password=${secret} --value=1`,
  `docker run --name=web -e DB_PASSWORD=${secret} --default=1`,
  `name=app password=${secret} value=x`,
  `{Name:jane Password:${secret} Value:5432}`,
  `{Type:x Password:${secret} Data:5}`,
  `Title: the password is ${secret}\nText: ok then`,
  `<field name="password" value="ok12">${secret}</field>`,
  `<property name="password" default="none1">${secret}</property>`,
  `<property name="password"><value>ok12</value>${secret}</property>`,
  `<input value="ok12" name="password">${secret}`,
  `<a><name>password</name><value default="${secret}">ok12</value></a>`,
  `Content-Disposition: form-data; name="password"; value="${secret}"\r\n\r\nok12\r\n--b`,
  `<a name="password" value="ok12" {name: 'password', value: '${secret}'}>`,
])('%j is masked', (text) => {
  expect(mask(text)).not.toContain(secret)
  expect(mask(JSON.stringify({ text }), 'application/json')).not.toContain(secret)
})

test('each of two values counts, where each has a name', () => {
  const text = `{name: 'password', apiKey: '${secret}', value: 'correcthorse'}`
  expect(mask(text)).toBe("{name: 'password', apiKey: '[CREDENTIAL]', value: '[CREDENTIAL]'}")
})

test.each([
  '<option name="password" value="1">Your new password</option>\n<keep>this</keep>',
  "<add name='password' value='x'\n>\n<keep>this</keep>",
  "{title: 'Password', content: 'Enter it twice, then go on.'}",
  'type=password name=login required=true',
  'name: password\n\nvalue: of the customer',
])('leaves alone what has no value: %j', (text) => {
  expect(mask(text)).toBe(text)
})

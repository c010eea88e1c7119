import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

/** Valid, and rare enough that some reader takes it for something else. */
const types: Readonly<Record<string, string>> = {
  'application/json;': 'application/json',
  'application/json;charset=UTF-8;': 'application/json; charset=UTF-8',
  'application/json ; charset=utf-8': 'application/json; charset=utf-8',
  'application/json;;; charset=utf-8 ; ;': 'application/json; charset=utf-8',
  'text/plain\t;charset=utf-8': 'text/plain; charset=utf-8',
}

const carried =
  (transport: Transport, [contentType, plain]: readonly [string, string]): Attempt =>
  async (world) => {
    const heard = await send(world[transport], { contentType })
    expect([heard.status, refusalOf(heard)]).toEqual([200, null])
    expect(world.echo.reached.at(-1)?.headers['content-type']).toBe(plain)
    expect(heard.headers.get('content-type')).toEqual([plain])
  }

/** The receiver answers in the unusual form, which was not known before it acted. */
const answered =
  (transport: Transport, [contentType, plain]: readonly [string, string]): Attempt =>
  async (world) => {
    const answer: Answering = (_, response) => {
      response.writeHead(200, { 'content-type': contentType }).end('{"a":1}')
    }
    const heard = await world.echo.during(answer, () => send(world[transport], {}))
    expect([heard.status, refusalOf(heard)]).toEqual([200, null])
    expect(heard.headers.get('content-type')).toEqual([plain])
  }

/** Proxies add lines of their own to those of the application behind them. */
const joined =
  (transport: Transport): Attempt =>
  async (world) => {
    const answer: Answering = (_, response) => {
      const lists = [
        ['Vary', 'Accept-Encoding'],
        ['Allow', 'GET'],
        ['Content-Language', 'en'],
      ]
      const more = [
        ['vary', 'Origin'],
        ['ALLOW', 'POST, PUT'],
        ['content-language', 'de'],
      ]
      const fields = [['Content-Type', 'application/json'], ...lists, ...more].flat()
      response.writeHead(200, fields).end('{"a":1}')
    }
    const heard = await world.echo.during(answer, () => send(world[transport], {}))
    expect([heard.status, refusalOf(heard)]).toEqual([200, null])
    const listed = ['vary', 'allow', 'content-language'].map((name) => heard.headers.get(name))
    expect(listed).toEqual([['Accept-Encoding, Origin'], ['GET, POST, PUT'], ['en, de']])
  }

/** On a route for any protocol: only a request that reads the tasks of a path is a list of them. */
const added =
  (transport: Transport): Attempt =>
  async (world) => {
    const answer: Answering = (_, response) => {
      response.writeHead(201, { 'content-type': 'application/json' }).end('{"ok":true}')
    }
    const draft: Draft = { path: '/api/tasks', body: '{"title":"x"}' }
    const door = world[transport]
    const heard = await world.echo.during(answer, () => send(door, draft))
    expect([heard.status, heard.body.toString()]).toEqual([201, '{"ok":true}'])
    const before = world.echo.reached.length
    const emptied = await send(door, { ...draft, method: 'DELETE', body: null })
    expect([emptied.status, refusalOf(emptied)]).toEqual([400, 'MESSAGE_MALFORMED'])
    expect(world.echo.reached.slice(before)).toEqual([])
  }

/** An answer without content lists nothing, so that there is nothing in it to withhold. */
const empty =
  (transport: Transport): Attempt =>
  async (world) => {
    const heard = async (method: string, status: number, headers: Record<string, string> = {}) => {
      const answer: Answering = (_, response) => void response.writeHead(status, headers).end()
      const draft: Draft = { method, path: '/api/tasks', body: null }
      const told = await world.echo.during(answer, () => send(world[transport], draft))
      return [told.status, refusalOf(told)]
    }
    const type = { 'content-type': 'application/json', 'content-length': '11' }
    expect(await heard('HEAD', 200, type)).toEqual([200, null])
    expect(await heard('GET', 204)).toEqual([204, null])
    expect(await heard('GET', 304, { etag: '"a"' })).toEqual([304, null])
  }

const onEach = (transport: Transport): Record<string, Attempt> => ({
  ...Object.fromEntries(
    Object.entries(types).flatMap((type) => [
      [`a request of type ${type[0]}`, carried(transport, type)],
      [`an answer of type ${type[0]}`, answered(transport, type)],
    ]),
  ),
  'lists on several lines': joined(transport),
  'an application that adds a task of its own': added(transport),
  'a list without content': empty(transport),
})

attack(
  verifies(
    ['deliver:rebuilt'],
    'a field that is valid in an unusual form passes in the usual one alone',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'sealed bytes are passed on unread',
  },
)

import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const form = 'application/x-www-form-urlencoded'
const get = { body: null, method: 'GET' } as const

/** Rails, Laravel, Symfony, Express, Jersey and ASP.NET read the method in one of these. */
const drafts: Readonly<Record<string, Draft>> = {
  'in the query': { path: '/?_method=DELETE' },
  'in the query of a GET': { ...get, path: '/?a=1&_method=POST' },
  'in the query, encoded': { path: '/?%5fmetho%64=delete' },
  'in the query, in capitals': { path: '/?_METHOD=put' },
  'in the query, as PHP reads names': { path: '/?.method=put' },
  'in the query, behind a semicolon': { path: '/?a=1;_method=put' },
  'in the query, by the name of a header': { path: '/?X-HTTP-Method-Override=PUT' },
  'in the query, in short': { path: '/?httpMethod=PUT' },
  'in a form': { contentType: form, body: 'a=1&_method=DELETE' },
  'in a form, encoded': { contentType: form, body: 'a=1&%5Fmethod=DELETE' },
  'in a form without a type': {
    body: 'a=1&_method=DELETE',
    edit: (lines) => lines.filter((line) => !line.startsWith('Content-Type')),
  },
  'in JSON': { body: '{"_method":"DELETE"}' },
  'in a list of the query': { path: '/?_method[]=DELETE' },
  'at a place of a list of the query': { path: '/?_method[0]=DELETE' },
  'in a list of the query, encoded': { path: '/?_method%5B0%5D=DELETE' },
  'in a record of the query': { path: '/?_method[a][b]=DELETE' },
  'in the query, behind a blank': { path: '/?+_method=DELETE' },
  'in the query, encoded twice': { path: '/?%255Fmethod=DELETE' },
  'second in the query': { path: '/?_method=POST&_method=DELETE' },
  'in a list of a form': { contentType: form, body: 'a=1&_method[0]=DELETE' },
  'in a form, behind a semicolon': { contentType: form, body: 'a=1;_method[]=DELETE' },
  'in a list of JSON': { body: '{"_method":["DELETE"]}' },
  'in a list of a list of JSON': { body: '{"_method":[["DELETE"]]}' },
  'second in a list of JSON': { body: '{"_method":["POST","DELETE"]}' },
  'in a record of JSON': { body: '{"_method":{"0":"DELETE"}}' },
  'in JSON, by a name with brackets': { body: '{"_method[]":"DELETE"}' },
  'in JSON, by the name of a header': { body: '{"X-HTTP-Method-Override":"DELETE"}' },
}

const harmless: Readonly<Record<string, Draft>> = {
  'the same method': { path: '/?_method=post' },
  'another field': { contentType: form, body: 'method=card&payment_method=card' },
  'the same method, in a list': { path: '/?_method[]=post' },
  'brackets and dots': { path: '/?filter[method]=card&payment.method=card' },
  'a log of another request': { body: '{"http_method":"GET","status":200}' },
  'an event of a gateway': { body: '{"httpMethod":"DELETE","path":"/x","body":null}' },
  'another member': { body: '{"method":"card","_method":7}' },
}

const passes =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    for (const [way, draft] of Object.entries(harmless)) {
      const heard = await send(world[transport], draft)
      expect({ way, refusal: refusalOf(heard) }).toEqual({ way, refusal: null })
    }
  }

const each = eachRefusedOnBoth('MESSAGE_MALFORMED', drafts)

attack(verifies(['authorize:operation'], 'a field that overrides the HTTP method is refused'), {
  gateway: { ...each.gateway, 'and others pass': passes('gateway') },
  mesh: { ...each.mesh, 'and others pass': passes('mesh') },
  queue: 'the fabric cannot read sealed operations',
})

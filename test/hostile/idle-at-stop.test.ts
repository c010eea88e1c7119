import { connect as connectHttp2 } from 'node:http2'
import { connect as connectPlain } from 'node:net'
import { expect, test } from 'vitest'
import { bytesOf } from '../harness/doors.ts'
import { dial, pemOf, talk } from '../harness/raw-http.ts'
import { openWorld } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Longer than the test may take: a stop that waits for an idle connection fails it. */
const graceMs = 600_000

test(
  verifies(
    ['operate:clean-stop'],
    'idle connections, half handshakes and long polls end at once when the fabric stops; a call in flight is answered',
  ),
  async () => {
    const world = await openWorld({ receivers: ['echo'] })
    const { port } = world.fabric
    const credential = world.caller.credential()
    const http2 = connectHttp2(world.fabric.origin, {
      ...pemOf(credential),
      rejectUnauthorized: false,
    })
    http2.on('error', () => undefined)
    const goAway = Promise.withResolvers<number>()
    http2.on('goaway', (code) => goAway.resolve(code))
    await new Promise((resolve) => http2.once('remoteSettings', resolve))
    const silent = await dial({ port, credential })
    const halfHead = await dial({ port, credential })
    halfHead.write('GET / HTTP/1.1\r\nHost:')
    const halfHandshake = connectPlain(port, '127.0.0.1')
    halfHandshake.on('error', () => undefined)
    await new Promise((resolve) => halfHandshake.once('connect', resolve))
    // The first bytes of a record that never ends.
    halfHandshake.write(Buffer.of(0x16, 0x03, 0x01))
    const state = await dial({ port, credential })
    const answered = new Promise<string>((resolve) => {
      state.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1')))
    })
    const reading = Promise.withResolvers<void>()
    const place = await world.gateway.place('echo', '/')
    const release = Promise.withResolvers<void>()
    const call = world.echo.during(
      (_, response) => {
        reading.resolve()
        void release.promise.then(() => {
          response.writeHead(200, { 'content-type': 'application/json' })
          response.end('{"paid":true}')
        })
      },
      () => talk({ port, credential }, bytesOf({}, place)),
    )
    await reading.promise
    const present = bytesOf({ method: 'GET', body: null }, { ...place, path: '/v1/mesh/state' })
    const [now] = await talk({ port, credential }, present)
    const { sequence } = JSON.parse(now?.body.toString() ?? '{}') as { sequence: number }
    state.write(`GET /v1/mesh/state?after=${sequence} HTTP/1.1\r\nHost: ${place.authority}\r\n\r\n`)
    // Answered requests show that the server has read what came before.
    await talk(
      { port, credential },
      bytesOf({ method: 'GET', body: null }, { ...place, path: '/' }),
    )
    const closed = world.fabric.close(graceMs)
    expect(await goAway.promise).toBe(0)
    expect(await answered).toMatch(/^HTTP\/1\.1 200 /)
    release.resolve()
    const [heard] = await call
    expect(heard?.status).toBe(200)
    expect(heard?.body.toString()).toBe('{"paid":true}')
    await closed
    for (const each of [silent, halfHead, halfHandshake, state]) each.destroy()
    await world.close()
  },
)

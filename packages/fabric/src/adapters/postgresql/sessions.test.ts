import { expect, test } from 'vitest'
import { loadPostgresClient } from './client.ts'
import type { Session } from './session.ts'
import { RECORD_SESSIONS_MAX, SESSIONS_MAX, Sessions } from './sessions.ts'

const never = 3_600_000

function fakeSession(history: string): Session & { end(): void } {
  let isBroken = false
  const destroy = (): void => {
    isBroken = true
  }
  return {
    get isBroken() {
      return isBroken
    },
    history,
    query: async () => ({ command: '', rowCount: 0, rows: [] }),
    takeWarnings: () => [],
    onNotification: () => undefined,
    onEnd: () => undefined,
    ...{ destroy, end: destroy },
  }
}

function openFakes(waitMs = never) {
  const opened: ReturnType<typeof fakeSession>[] = []
  const server = { history: 'one/00000001' }
  const sessions = new Sessions(async () => {
    const session = fakeSession(server.history)
    opened.push(session)
    return session
  }, waitMs)
  return { opened, sessions, server }
}

/** Work that goes on until it is opened. */
function gate() {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  return { wait: () => promise, open: () => resolve(undefined) }
}

test('a missing client is named, with the command that installs it', async () => {
  const missing = () => Promise.reject(new Error('Cannot find package'))
  await expect(loadPostgresClient(missing)).rejects.toThrow('npm install pg')
  await expect(loadPostgresClient(async () => ({}))).rejects.toThrow('unknown version')
})

test('no more connections are open than the bound, and calls take turns', async () => {
  const { opened, sessions } = openFakes()
  const { wait, open } = gate()
  let running = 0
  let runningMax = 0
  const calls = Array.from({ length: 3 * SESSIONS_MAX }, () =>
    sessions.use(async () => {
      running++
      runningMax = Math.max(runningMax, running)
      await wait()
      running--
    }),
  )
  open()
  await Promise.all(calls)
  expect({ runningMax, opened: opened.length }).toEqual({
    runningMax: SESSIONS_MAX,
    opened: SESSIONS_MAX,
  })
})

test('a connection on which something failed is never used again', async () => {
  const { opened, sessions } = openFakes()
  const failed = sessions.use(() => Promise.reject(new Error('in the middle')))
  await expect(failed).rejects.toThrow('in the middle')
  const [first] = opened
  expect(first?.isBroken).toBe(true)
  expect(await sessions.use(async (session) => session === first)).toBe(false)
})

test('a connection that breaks while it is used takes the idle ones with it', async () => {
  const { opened, sessions } = openFakes()
  const { wait, open } = gate()
  const used = Array.from({ length: SESSIONS_MAX }, () => sessions.use(wait))
  open()
  await Promise.all(used)
  const broken = sessions.use(async (session) => {
    session.destroy()
    throw new Error('no answer')
  })
  await expect(broken).rejects.toThrow('no answer')
  expect(opened.map(({ isBroken }) => isBroken)).toEqual(opened.map(() => true))
  // A statement that the server refuses ends its own connection alone.
  await Promise.all([1, 2].map(() => sessions.use(async () => undefined)))
  await expect(sessions.use(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
  expect(opened.filter(({ isBroken }) => !isBroken)).toHaveLength(1)
})

test('a connection that ended while it was idle is replaced', async () => {
  const { opened, sessions } = openFakes()
  await sessions.use(async () => undefined)
  opened[0]?.end()
  await sessions.use(async (session) => expect(session.isBroken).toBe(false))
  expect(opened).toHaveLength(2)
})

test('a call that no connection is free for fails at its time, and takes no turn', async () => {
  const { sessions } = openFakes(5)
  const { wait, open } = gate()
  const used = Array.from({ length: SESSIONS_MAX }, () => sessions.use(wait))
  await expect(sessions.use(async () => undefined)).rejects.toThrow('was free within')
  open()
  await Promise.all(used)
  expect(await sessions.use(async () => 'again')).toBe('again')
})

test('a failed attempt to connect gives its turn back', async () => {
  let attempts = 0
  const sessions = new Sessions(async () => {
    attempts++
    if (attempts <= 2 * SESSIONS_MAX) throw new Error('refused')
    return fakeSession('one/00000001')
  }, never)
  const calls = Array.from({ length: 2 * SESSIONS_MAX }, () => sessions.use(async () => 'used'))
  const results = await Promise.allSettled(calls)
  expect(results.every(({ status }) => status === 'rejected')).toBe(true)
  expect(await sessions.use(async () => 'used')).toBe('used')
})

test('a server that another one has replaced is not used again, and what it answers is not', async () => {
  const { opened, sessions, server } = openFakes()
  const { wait, open } = gate()
  const late = sessions.use(wait)
  await Promise.all([1, 2].map(() => sessions.use(async () => undefined)))
  expect(sessions.history).toBe('one/00000001')
  opened[1]?.end()
  opened[2]?.end()
  server.history = 'one/0000000A'
  await sessions.use(async () => expect(sessions.history).toBe('one/0000000A'))
  open()
  await expect(late).rejects.toThrow('was replaced by another one')
  expect(opened[0]?.isBroken).toBe(true)
  opened.at(-1)?.end()
  server.history = 'one/00000009'
  await expect(sessions.use(async () => undefined)).rejects.toThrow('was replaced by another one')
  expect(sessions.history).toBe('one/0000000A')
  // Of another cluster, nothing is known.
  server.history = 'two/00000001'
  expect(await sessions.use(async () => sessions.history)).toBe('two/00000001')
})

test('a share leaves connections to others, however many of its calls wait', async () => {
  const { opened, sessions } = openFakes()
  const share = sessions.share(RECORD_SESSIONS_MAX)
  const { wait, open } = gate()
  const shared = Array.from({ length: 3 * SESSIONS_MAX }, () => share.use(wait))
  await expect.poll(() => opened.length).toBe(RECORD_SESSIONS_MAX)
  const others = Array.from({ length: SESSIONS_MAX - RECORD_SESSIONS_MAX }, () =>
    sessions.use(async () => 'used'),
  )
  expect(await Promise.all(others)).toEqual(others.map(() => 'used'))
  open()
  await Promise.all(shared)
  expect(opened.length).toBeLessThanOrEqual(SESSIONS_MAX)
})

test('closing ends connections in use, and later calls fail', async () => {
  const { opened, sessions } = openFakes()
  const { wait, open } = gate()
  const used = sessions.use(wait)
  await expect.poll(() => opened.length).toBe(1)
  sessions.close()
  expect(opened[0]?.isBroken).toBe(true)
  open()
  await used
  await expect(sessions.use(async () => undefined)).rejects.toThrow('is closed')
})

import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

/** Files lie behind these paths; none but the log's own may be had. */
const paths = [
  '/log/../secrets/index',
  '/log/..%2fsecrets',
  '/log/%2e%2e/state.db',
  '/log//etc/passwd',
  '/log/tile/../../state.db',
  '/log/tile/0/../../../state.db',
  '/log/tile/0/x001/../000',
  '/log/checkpoint/../../state.db',
  '/log/tile/0/000.p/999999999999999999999',
  '/log/tile/-1/000',
  '/log/tile/0/1e3',
  '/log/',
  '/log/\\..\\state.db',
  '/verify/../../../etc/passwd',
  '/console/..%5c..%5cstate.db',
]

attack(verifies(['record:no-bodies'], 'a file that is not the log’s is not handed out'), {
  gateway: Object.fromEntries(
    paths.map((path) => [
      path,
      async (world) => {
        const heard = await send(world.control, { method: 'GET', path, body: null, as: null })
        const text = heard.body.toString('latin1')
        expect(text).not.toMatch(/root:|SQLite|BEGIN|csk_|csj_/)
        const isPage = /^\/(?:verify|console)\//.test(path)
        if (!isPage) expect([400, 401, 404]).toContain(heard.status)
      },
    ]),
  ),
  mesh: 'a connector serves no files',
  queue: 'the gateway serves the log',
})

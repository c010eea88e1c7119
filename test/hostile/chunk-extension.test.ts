import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

/** Not refused, since HTTP allows them; what matters is that nothing of them travels on. */
const hide =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const heard = await send(world[transport], {
      edit: (lines) => [
        ...lines.filter((line) => !line.startsWith('Content-Length')),
        'Transfer-Encoding: chunked',
        'Trailer: X-Late',
      ],
      payload: ['2;hidden="4111111111111111"\r\n{}\r\n0;more\r\nX-Late: 1\r\n\r\n'],
    })
    expect(heard.status).toBe(200)
    const reached = world.echo.reached.at(-1)
    expect(reached?.body.toString()).toBe('{}')
    expect(reached?.headers).toMatchObject({ 'content-length': '2' })
    expect(reached?.rawHeaders.join('\n')).not.toMatch(/transfer-encoding|trailer|x-late/i)
  }

attack(
  verifies(
    ['deliver:rebuilt', 'deliver:hop-by-hop'],
    'words between the chunks of a body do not travel on',
  ),
  {
    gateway: hide('gateway'),
    mesh: hide('mesh'),
    queue: 'sealed bytes are passed on whole',
  },
)

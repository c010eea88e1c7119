import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { agentId, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const boss = 'spiffe://countersign.local/user/operator'

const forged: readonly (readonly [string, string])[] = [
  ['Countersign-From', boss],
  ['countersign_from', boss],
  ['Countersign-Exchange', 'exc_a_01890000000070008000000000000000'],
  ['X-Forwarded-For', '10.0.0.1'],
  ['X-Forwarded-Client-Cert', `URI=${boss}`],
  ['X-Forwarded-Host', 'internal'],
  ['X-Forwarded-User', 'root'],
  ['Forwarded', 'for=10.0.0.1;by=root'],
  ['Client-Cert', ':AA==:'],
  ['Client-Cert-Chain', ':AA==:'],
  ['X-SSL-Client-S-DN', 'CN=root'],
  ['X-Real-IP', '10.0.0.1'],
  ['X-User', 'root'],
  ['Txn-Token', 'a.b.c'],
  ['Workload-Identity-Token', 'a.b.c'],
  ['Cookie', 'session=root'],
  ['Proxy-Authorization', 'Basic cm9vdDpyb290'],
  ['X-Original-URL', '/admin'],
  ['X-HTTP-Method-Override', 'DELETE'],
]

const forge =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const heard = await send(world[transport], {
      headers: forged,
      edit: (lines) => [...lines, 'Connection: keep-alive, Countersign-From, Content-Digest'],
    })
    expect(heard.status).toBe(200)
    const headers = world.echo.reached.at(-1)?.headers ?? {}
    const names = forged.map(([name]) => name.toLowerCase())
    const own = ['countersign-from', 'countersign-exchange']
    for (const name of names.filter((each) => !own.includes(each))) {
      expect(headers[name], name).toBeUndefined()
    }
    expect(headers).toMatchObject({
      'countersign-from': agentId('caller'),
      'countersign-to': agentId('echo'),
      'countersign-exchange': heard.headers.get('countersign-exchange')?.[0],
    })
    expect(headers['content-digest']).toBeDefined()
  }

attack(
  verifies(
    ['authenticate:identity-headers', 'deliver:hop-by-hop'],
    'identity that a caller claims in a header never reaches the receiver',
  ),
  {
    gateway: forge('gateway'),
    mesh: forge('mesh'),
    queue: 'the sender is in the signed header of the sealed message',
  },
)

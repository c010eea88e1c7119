import type { Socket } from 'node:net'
import { type Attack, dial, expectStatus, post, postJson } from '../attack.ts'

const form = 'grant_type=client_credentials&client_id=mallory'
const type = 'Content-Type: application/x-www-form-urlencoded'
const text = (length: number): string => 'A'.repeat(length)

/**
 * Whole requests for tokens, enrolments with a join string that was used, and renewals, without
 * end.
 */
export const attack: Attack = {
  name: 'finished enrolments and tokens',
  async round(target) {
    const enrolment = JSON.stringify({
      ...{ version: 1, token: target.join, tlsKey: text(122), tlsProof: text(96) },
      ...{
        signingKey: text(43),
        signingProof: text(86),
        sealingKey: text(43),
        sealingProof: text(43),
      },
    })
    const requests = [
      Buffer.from(post(target, '/oauth/token', [type, `Content-Length: ${form.length}`]) + form),
      postJson(target, '/v1/enroll', enrolment),
      postJson(target, '/v1/renew', JSON.stringify({ tlsKey: text(122), tlsProof: text(96) })),
    ]
    const sockets: Socket[] = []
    for (let at = 0; at < 45; at++) {
      const socket = await dial(target)
      expectStatus(target, socket, 400, 401, 403, 429)
      socket.write(requests[at % requests.length] ?? '')
      sockets.push(socket)
      await target.pause(30)
    }
    await target.pause(3_000)
    for (const socket of sockets) socket.destroy()
  },
}

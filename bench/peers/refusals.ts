import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import type { CredentialFiles, Credentials } from './credentials.ts'
import { AGENT_PATH } from './peer.ts'

interface Attempt {
  readonly name: string
  /** The status, or 0 if the handshake must fail. */
  readonly expected: number
  readonly client: CredentialFiles | null
  readonly token: string | null
  readonly path?: string
  readonly method?: string
}

const attemptMsMax = 5_000

/**
 * Makes the requests that a checking peer must permit or refuse, and returns those that it
 * answered otherwise: a peer that checks less than its row claims is not a baseline.
 */
export async function checkFaults(
  port: number,
  credentials: Credentials,
): Promise<readonly string[]> {
  const { caller, other, token, expiredToken, forgedToken } = credentials
  const right = { expected: 200, client: caller, token }
  const attempts: readonly Attempt[] = [
    { ...right, name: 'the caller' },
    { ...right, name: 'no certificate', client: null, expected: 0 },
    { ...right, name: 'no token', token: null, expected: 401 },
    { ...right, name: 'an expired token', token: expiredToken, expected: 401 },
    { ...right, name: 'a forged token', token: forgedToken, expected: 401 },
    { ...right, name: 'the certificate of another agent', client: other, expected: 403 },
    { ...right, name: 'another path', path: '/agents/billing/', expected: 403 },
    { ...right, name: 'another method', method: 'DELETE', expected: 403 },
  ]
  const faults: string[] = []
  for (const attempt of attempts) {
    const status = await statusOf(port, credentials.ca, attempt)
    if (status === attempt.expected) continue
    faults.push(`${attempt.name}: ${status} instead of ${attempt.expected}`)
  }
  return faults
}

function statusOf(port: number, ca: string, attempt: Attempt): Promise<number> {
  const { client, token, path = AGENT_PATH, method = 'POST' } = attempt
  const own = client === null ? {} : { cert: read(client.cert), key: read(client.key) }
  const headers = token === null ? {} : { authorization: `Bearer ${token}` }
  const options = { host: 'localhost', port, path, method, headers, agent: false as const }
  return new Promise((resolve) => {
    const sent = request({ ...options, ...own, ca: read(ca), timeout: attemptMsMax })
    sent.on('response', (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    sent.on('timeout', () => sent.destroy(new Error('no response in time')))
    sent.on('error', () => resolve(0))
    sent.end()
  })
}

const read = (path: string): Buffer => readFileSync(path)

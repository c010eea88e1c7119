import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Credentials } from './credentials.ts'
import { AGENT_PATH, type Peer, type PeerPlace } from './peer.ts'
import { findProgram, startProgram } from './program.ts'

/** Mutual TLS, a token verified for each request, an access list, and a line of log. */
export const haproxy: Peer = {
  name: 'HAProxy',
  isChecking: true,
  howToInstall: 'apt-get install haproxy',
  find: () => findProgram('haproxy'),
  start(path, place, credentials) {
    const { dir, port } = place
    const config = join(dir, 'haproxy.cfg')
    const { cert, key } = credentials.server
    writeFileSync(bundleIn(dir), readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'))
    writeFileSync(config, haproxyConfiguration(place, credentials))
    // Without a master process and in the foreground, so that one process does all of the work.
    const args = ['-db', '-f', config]
    return startProgram({ path, args, port, logFile: join(dir, 'haproxy-access.log') })
  },
}

/** One thread. HAProxy 2.6 has no fetch for a SPIFFE ID, so the leaf's digest names the caller. */
export function haproxyConfiguration(place: PeerPlace, credentials: Credentials): string {
  const { caller, ca, issuer, audience, issuerKey } = credentials
  const tls = `ssl crt ${bundleIn(place.dir)} ca-file ${ca} verify required`
  return `global
  nbthread 1
  maxconn 1024
  log stdout format raw local0
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend gateway
  bind 127.0.0.1:${place.port} ${tls} alpn h2,http/1.1 ssl-min-ver TLSv1.3
  log-format "%[var(txn.sub)] %HM %HP %ST %Ta"
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request set-var(txn.iss) http_auth_bearer,jwt_payload_query('$.iss')
  http-request set-var(txn.aud) http_auth_bearer,jwt_payload_query('$.aud')
  http-request set-var(txn.sub) http_auth_bearer,jwt_payload_query('$.sub')
  http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless { var(txn.alg) -m str ES256 }
  http-request deny deny_status 401 unless { http_auth_bearer,jwt_verify(txn.alg,"${issuerKey}") 1 }
  http-request deny deny_status 401 unless { var(txn.iss) -m str ${issuer} }
  http-request deny deny_status 401 unless { var(txn.aud) -m str ${audience} }
  http-request deny deny_status 401 unless { var(txn.exp),sub(txn.now) -m int gt 0 }
  acl is_caller ssl_c_sha1,hex -m str ${caller.sha1}
  acl is_subject var(txn.sub) -m str ${caller.spiffeId}
  acl is_call method POST
  acl is_agent path_beg ${AGENT_PATH}
  http-request deny deny_status 403 unless is_caller is_subject is_call is_agent
  default_backend receiver
backend receiver
  server echo ${place.upstream}
`
}

/** HAProxy reads the certificate and its key from one file. */
const bundleIn = (dir: string): string => join(dir, 'haproxy.pem')

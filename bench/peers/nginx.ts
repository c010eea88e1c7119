import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Credentials } from './credentials.ts'
import type { Peer, PeerPlace } from './peer.ts'
import { findProgram, startProgram } from './program.ts'

/** A bare TLS hop with an access log: it asks for no certificate and reads no token. */
export const nginx: Peer = {
  name: 'nginx TLS hop',
  isChecking: false,
  howToInstall: 'apt-get install nginx',
  find: () => findProgram('nginx'),
  start(path, place, credentials) {
    const { dir, port } = place
    const config = join(dir, 'nginx.conf')
    writeFileSync(config, nginxConfiguration(place, credentials))
    const args = ['-c', config, '-p', dir, '-g', 'daemon off;']
    return startProgram({ path, args, port, logFile: join(dir, 'nginx.log') })
  },
}

/** One worker; HTTP/2 as the gateway and the other peers speak it. */
export function nginxConfiguration(place: PeerPlace, { server }: Credentials): string {
  const { dir, port, upstream } = place
  return `worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log;
events { worker_connections 1024; }
http {
  access_log ${dir}/access.log;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  upstream receiver { server ${upstream}; keepalive 64; }
  server {
    listen 127.0.0.1:${port} ssl http2; ssl_protocols TLSv1.3;
    ssl_certificate ${server.cert}; ssl_certificate_key ${server.key};
    keepalive_requests 1000000;
    location / { proxy_pass http://receiver; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`
}

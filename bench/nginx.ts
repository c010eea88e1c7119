import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { derCertificateWriter } from '../packages/fabric/src/adapters/x509/der-certificate-writer.ts'
import { openAuthority } from '../packages/fabric/src/identity/certificate-authority.ts'
import { systemClock } from '../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import { toPem } from '../packages/protocol/src/tls.ts'
import { memorySecrets, testKeys } from '../test/contracts/identity-lab.ts'

export interface NginxHop {
  readonly url: string
  readonly ca: string
  cpuUs(): number
  stop(): Promise<void>
}

/** nginx from Debian as a plain TLS hop in front of `upstream`; null where it is not installed. */
export async function startNginx(dir: string, upstream: string): Promise<NginxHop | null> {
  if (spawnSync('nginx', ['-v']).error !== undefined) return null
  mkdirSync(dir, { recursive: true })
  const files = await certificates(dir)
  const port = await freePort()
  const config = join(dir, 'nginx.conf')
  writeFileSync(config, configuration(dir, port, upstream, files))
  const child = spawn('nginx', ['-c', config, '-p', dir, '-g', 'daemon off;'], { stdio: 'ignore' })
  await listening(port)
  const pids = workersOf(child.pid ?? 0)
  return {
    url: `https://localhost:${port}/`,
    ca: files.ca,
    cpuUs: () => pids.reduce((sum, pid) => sum + cpuUsOf(pid), 0),
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGTERM')
      }),
  }
}

async function certificates(dir: string) {
  const secrets = memorySecrets()
  const authority = await openAuthority({
    trustDomain: 'bench.example',
    secrets,
    rootKeys: testKeys(secrets),
    writer: derCertificateWriter(),
    clock: systemClock,
    random: systemRandom,
  })
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { certificateChain } = await authority.issue({
    spiffeId: 'spiffe://bench.example/fabric/nginx',
    tlsPublicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
    dnsNames: ['localhost'],
  })
  const write = (name: string, text: string) => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  return {
    ca: write('ca.pem', authority.rootPem),
    cert: write('cert.pem', certificateChain.map((each) => toPem(each)).join('')),
    key: write('key.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
  }
}

function configuration(
  dir: string,
  port: number,
  upstream: string,
  { cert, key }: { readonly cert: string; readonly key: string },
): string {
  const { host } = new URL(upstream)
  return `worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log;
events { worker_connections 1024; }
http {
  access_log ${dir}/access.log;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  upstream receiver { server ${host}; keepalive 64; }
  server {
    listen 127.0.0.1:${port} ssl; ssl_protocols TLSv1.3;
    ssl_certificate ${cert}; ssl_certificate_key ${key};
    keepalive_requests 1000000;
    location / { proxy_pass http://receiver; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      }).on('error', () => resolve(false))
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('nginx does not listen')
}

function workersOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return [pid, ...children.trim().split(/\s+/).filter(Boolean).map(Number)]
}

function cpuUsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

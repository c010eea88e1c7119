import { generateKeyPairSync } from 'node:crypto'
import { formatSpiffeId } from '@countersign/protocol'
import type { TlsCredential } from '@countersign/protocol/tls'
import type { Clock } from '../lib/clock.ts'
import type { Authority } from './certificate-authority.ts'

/** What the fabric's own listeners show, and when it changes. */
export interface ServerIdentity {
  readonly spiffeId: string
  current(): TlsCredential & { readonly expiresAt: number }
  /** Called with every new credential, before the old one ends. Returns what stops it. */
  onRotate(listener: (credential: TlsCredential) => void): () => void
  /** Replaces key and certificate now; also happens by itself at half of the lifetime. */
  rotate(): Promise<void>
  close(): void
}

export interface ServerIdentityOptions {
  readonly authority: Authority
  readonly clock: Clock
  /** The last part of the SPIFFE ID, `spiffe://<trust domain>/fabric/<name>`. */
  readonly name: string
  /** Further DNS names and addresses, beside those of the loopback interface. */
  readonly names: readonly string[]
  readonly lifetimeMs?: number
  /** Hears why a rotation failed; it is tried again, and the old certificate stands until then. */
  readonly onFailure?: (error: unknown) => void
}

const loopback = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1', '::1'] }

/** Between tries after a failed rotation: often enough to use what is left of half an hour. */
const retryMs = 30_000

const address = /^[0-9.]+$|:/

export async function openServerIdentity(options: ServerIdentityOptions): Promise<ServerIdentity> {
  const { authority, clock } = options
  const { trustDomain } = authority
  const spiffeId = formatSpiffeId({
    trustDomain,
    kind: 'fabric',
    name: options.name,
    instance: null,
  })
  const listeners = new Set<(credential: TlsCredential) => void>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const issue = async (): Promise<TlsCredential & { expiresAt: number }> => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const issued = await authority.issue({
      spiffeId,
      tlsPublicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
      dnsNames: distinct(
        loopback.dnsNames,
        options.names.filter((each) => !address.test(each)),
      ),
      ipAddresses: distinct(
        loopback.ipAddresses,
        options.names.filter((each) => address.test(each)),
      ),
      ...(options.lifetimeMs === undefined ? {} : { lifetimeMs: options.lifetimeMs }),
    })
    const { certificateChain, expiresAt } = issued
    return { certificateChain, expiresAt, privateKey }
  }

  const waitFor = (delayMs: number): void => {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(() => {
      rotate().catch((error: unknown) => {
        options.onFailure?.(error)
        waitFor(retryMs)
      })
    }, delayMs)
    timer.unref()
  }
  const halfLife = (): number => Math.max(0, (current.expiresAt - clock.now()) / 2)

  const rotate = async (): Promise<void> => {
    current = await issue()
    for (const listener of listeners) listener(current)
    waitFor(halfLife())
  }

  let current = await issue()
  waitFor(halfLife())
  return {
    spiffeId,
    current: () => current,
    onRotate: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    rotate,
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}

function distinct(...lists: readonly (readonly string[])[]): readonly string[] {
  return [...new Set(lists.flat())]
}

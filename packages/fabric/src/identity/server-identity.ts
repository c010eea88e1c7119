import { generateKeyPairSync } from 'node:crypto'
import { formatSpiffeId, ListenerSet } from '@countersign/protocol'
import type { TlsCredential } from '@countersign/protocol/tls'
import type { Clock } from '../lib/clock.ts'
import type { Authority } from './certificate-authority.ts'

/** The certificate that the fabric's own listeners show, and its changes. */
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
  /** DNS names and addresses in addition to those of the loopback interface. */
  readonly names: readonly string[]
  readonly lifetimeMs?: number
  /**
   * Receives the reason when a rotation failed; it is tried again, and the old certificate stands
   * until then.
   */
  readonly onFailure?: (error: unknown) => void
}

const loopback = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1', '::1'] }

/** Between tries after a failed rotation: often enough to use what is left of half an hour. */
const retryMs = 30_000

/** Between two looks at the clock. */
const lookMs = 30_000

interface Issued extends TlsCredential {
  readonly issuedAt: number
  readonly expiresAt: number
}

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
  const listeners = new ListenerSet<TlsCredential>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const waitFor = (delayMs: number): void => {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(() => {
      lookAgain().catch((error: unknown) => {
        options.onFailure?.(error)
        waitFor(retryMs)
      })
    }, delayMs)
    timer.unref()
  }
  const nextLook = (): void => {
    const delayMs = Math.min(leftMs, lookMs)
    leftMs -= delayMs
    waitFor(delayMs)
  }
  const lookAgain = async (): Promise<void> => {
    const now = clock.now()
    // A clock that was set, forwards or back, makes a certificate useless long before a timer ends.
    const isOfNow = now >= current.issuedAt - lookMs && now < halfTime(current)
    if (leftMs > 0 && isOfNow) nextLook()
    else await rotate()
  }
  const rotate = async (): Promise<void> => {
    current = await issue(options, spiffeId)
    leftMs = halfTime(current) - current.issuedAt
    listeners.notify(current)
    nextLook()
  }

  let current = await issue(options, spiffeId)
  let leftMs = halfTime(current) - current.issuedAt
  nextLook()
  return {
    spiffeId,
    current: () => current,
    onRotate: (listener) => listeners.add(listener),
    rotate,
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}

function halfTime({ issuedAt, expiresAt }: Issued): number {
  return (issuedAt + expiresAt) / 2
}

async function issue(options: ServerIdentityOptions, spiffeId: string): Promise<Issued> {
  const { authority, clock, names, lifetimeMs } = options
  const issuedAt = clock.now()
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { certificateChain, expiresAt } = await authority.issue({
    spiffeId,
    tlsPublicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
    dnsNames: distinct(
      loopback.dnsNames,
      names.filter((each) => !address.test(each)),
    ),
    ipAddresses: distinct(
      loopback.ipAddresses,
      names.filter((each) => address.test(each)),
    ),
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  })
  return { certificateChain, issuedAt, expiresAt, privateKey }
}

function distinct(...lists: readonly (readonly string[])[]): readonly string[] {
  return [...new Set(lists.flat())]
}

import type { Closer } from '../concurrency/closing.ts'
import { type CertifiedKey, openCertifiedKey } from '../keys/certified-key.ts'
import type { KeyProvider } from '../keys/key-provider.ts'
import type { EntryFeed } from '../ledger/entry-feed.ts'
import type { KeyStore } from '../lib/stored-key.ts'
import { CERTIFIER } from './keys.ts'
import { recordCertification } from './lifecycle.ts'
import type { Environment } from './stores.ts'

/**
 * The key with which this process signs what it forwards. It has one before anything listens, and
 * its certificate is in the log of its slot before it signs.
 */
export async function openForwardKey(
  environment: Environment,
  place: {
    readonly provider: KeyProvider
    readonly secrets: KeyStore
    readonly slot: string
    readonly feed: EntryFeed
  },
  closers: Closer[],
): Promise<CertifiedKey> {
  const { config, clock, log } = environment
  const { feed, ...rest } = place
  const key = await openCertifiedKey({
    ...rest,
    ...{ certifier: CERTIFIER, purpose: 'forward', trustDomain: config.trustDomain, clock },
    record: recordCertification(environment, feed),
    onFailure: (error) => log('no new key was certified', { error: String(error) }),
  })
  closers.push({ name: 'forward key', close: () => key.close() })
  return key
}

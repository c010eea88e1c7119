import type { ReplacedKeyStore } from '../../packages/fabric/src/ledger/replaced-keys.ts'

/** A key that is replaced, as a secret store keeps it over all restarts. */
export function memoryKeys(first: Uint8Array | null = null): ReplacedKeyStore {
  let kept = first
  return {
    load: () => Promise.resolve(kept?.slice() ?? null),
    store(value) {
      kept = value.slice()
      return Promise.resolve()
    },
  }
}

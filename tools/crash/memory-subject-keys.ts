import type { SubjectKeyStore } from '../../packages/fabric/src/ledger/subject-keys.ts'

/** The subject key of one log, as a secret store keeps it over all restarts. */
export function memorySubjectKeys(first: Uint8Array | null = null): SubjectKeyStore {
  let kept = first
  return {
    load: () => Promise.resolve(kept?.slice() ?? null),
    store(value) {
      kept = value.slice()
      return Promise.resolve()
    },
  }
}

import type { StateStore } from '../../packages/fabric/src/state/state-store.ts'

/**
 * A store behind a network that a test cuts: calls fail at once, or never return. Wake-ups
 * are lost as well.
 */
export function cutOffState(store: StateStore) {
  let network: 'up' | 'failing' | 'hanging' = 'up'
  const through = <Result>(call: () => Promise<Result>): Promise<Result> => {
    if (network === 'up') return call()
    if (network === 'failing') return Promise.reject(new Error('the network is down'))
    return new Promise(() => undefined)
  }
  const cut: StateStore = {
    read: () => through(() => store.read()),
    commit: (changes) => through(() => store.commit(changes)),
    changes: (after, rowsMax) => through(() => store.changes(after, rowsMax)),
    onWake: (listener) =>
      store.onWake(() => {
        if (network === 'up') listener()
      }),
    history: () => store.history(),
    close: () => store.close(),
  }
  return {
    store: cut,
    set network(next: typeof network) {
      network = next
    },
  }
}

import { vi } from 'vitest'
import { ConnectionPlaces } from '../../packages/fabric/src/adapters/undici/connection-places.ts'

/**
 * Runs `scene`, which may ask how many requests wait for a connection to a receiver. Only those
 * that came meanwhile count.
 */
export async function watchingPools<T>(scene: (waiting: () => number) => Promise<T>): Promise<T> {
  const entered = new Set<{ readonly isOver: boolean }>()
  const { enter } = ConnectionPlaces.prototype
  const spy = vi.spyOn(ConnectionPlaces.prototype, 'enter').mockImplementation(function (
    this: ConnectionPlaces,
    endpoint,
    owner,
    dispatched,
    begin,
  ) {
    entered.add(dispatched)
    enter.call(this, endpoint, owner, dispatched, () => {
      entered.delete(dispatched)
      begin()
    })
  })
  try {
    return await scene(() => [...entered].filter(({ isOver }) => !isOver).length)
  } finally {
    spy.mockRestore()
  }
}

/** SQLITE_IOERR, SQLITE_CORRUPT and SQLITE_NOTADB, without their extensions. */
const faultCodes: ReadonlySet<number> = new Set([10, 11, 26])

/**
 * The same store, which also reports errors after which its file cannot be trusted: what a failed
 * write or sync left behind is for a new start to judge. A full disk is not one of them, because
 * SQLite takes the transaction back and the caller is refused.
 */
export function watchStorage<Store extends object>(
  store: Store,
  onFault: (cause: unknown) => void,
): Store {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]): Promise<unknown> => {
        try {
          return await (Reflect.apply(member, target, args) as Promise<unknown>)
        } catch (error) {
          if (isStorageFault(error)) onFault(error)
          throw error
        }
      }
    },
  })
}

function isStorageFault(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error)) return false
  return typeof error.errcode === 'number' && faultCodes.has(error.errcode & 0xff)
}

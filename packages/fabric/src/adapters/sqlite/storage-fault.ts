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
      const reported = (error: unknown): never => {
        if (isStorageFault(error)) onFault(error)
        throw error
      }
      return (...args: unknown[]): unknown => {
        try {
          const result: unknown = Reflect.apply(member, target, args)
          // A value that is not a promise stays as it is: the function that removes a listener.
          return result instanceof Promise ? result.catch(reported) : result
        } catch (error) {
          return reported(error)
        }
      }
    },
  })
}

function isStorageFault(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error)) return false
  return typeof error.errcode === 'number' && faultCodes.has(error.errcode & 0xff)
}

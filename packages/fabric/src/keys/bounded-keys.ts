import { setDeadline } from '../lib/clock.ts'
import { KeyFault, type KeyProvider } from './key-provider.ts'

export interface KeyBounds {
  /** A call ends with KEY_TIMEOUT after this long, whatever its engine does. */
  readonly callMs: number
  /** Calls under way; one that timed out counts until its engine settles it. */
  readonly callsMax: number
}

export const KEY_BOUNDS: KeyBounds = { callMs: 5_000, callsMax: 64 }

/**
 * The provider, each call bounded in time and number. A provider that hangs costs its callers
 * `callMs` and nothing else: further ones are refused at once when `callsMax` are under way.
 */
export function boundedKeys(
  provider: KeyProvider,
  { callMs, callsMax }: KeyBounds = KEY_BOUNDS,
): KeyProvider {
  const { engine } = provider
  let underWay = 0
  const bounded = <T>(name: string, call: () => Promise<T>): Promise<T> => {
    if (underWay >= callsMax) {
      const text = `${engine} has ${underWay} calls under way (keys.calls); ${name} was not used`
      return Promise.reject(new KeyFault('KEY_UNAVAILABLE', text))
    }
    underWay++
    return new Promise<T>((resolve, reject) => {
      const cancel = setDeadline(callMs, () =>
        reject(
          new KeyFault(
            'KEY_TIMEOUT',
            `${engine} did not answer for the key ${name} within ${callMs} ms (keys.callMs)`,
          ),
        ),
      )
      // Within a promise, so that an engine that throws at once settles its call as well.
      Promise.resolve()
        .then(call)
        .then(resolve, (cause: unknown) => reject(faultOf(engine, name, cause)))
        .finally(() => {
          underWay--
          cancel()
        })
    })
  }
  return {
    engine,
    open: (name, algorithm) => bounded(name, () => provider.open(name, algorithm)),
    sign: (name, bytes) => bounded(name, () => provider.sign(name, bytes)),
    encrypt: (name, ...rest) => bounded(name, () => provider.encrypt(name, ...rest)),
    decrypt: (name, ...rest) => bounded(name, () => provider.decrypt(name, ...rest)),
    rotate: (name, rotation) => bounded(name, () => provider.rotate(name, rotation)),
  }
}

/** An error that an engine does not know is one of its network or storage. */
function faultOf(engine: string, name: string, cause: unknown): KeyFault {
  if (cause instanceof KeyFault) return cause
  const why = cause instanceof Error ? cause.message : String(cause)
  return new KeyFault('KEY_UNAVAILABLE', `${engine}: the key ${name}: ${why}`, { cause })
}

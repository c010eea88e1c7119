import { join } from 'node:path'
import { ListenerSet } from '@countersign/protocol'
import type { Closer } from '../concurrency/closing.ts'
import { createDetection, type RestorableDetection } from '../detection/create-detection.ts'
import { LogConsumer } from '../ledger/log-consumer.ts'
import { StateFile } from '../ledger/state-file.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { recordRebuilt } from './lifecycle.ts'
import { ObservedEntries } from './observed-entries.ts'
import type { Environment, Stores } from './stores.ts'

/** Detection that notifies the code that acts on risk when the risk of an agent has just risen. */
export interface WatchedDetection extends RestorableDetection {
  onSignal(listener: () => void): () => void
}

export function composeDetection(): WatchedDetection {
  const detection = createDetection()
  const listeners = new ListenerSet()
  return {
    ...detection,
    observe(observation) {
      const signals = detection.observe(observation)
      if (signals.length > 0) listeners.notify()
      return signals
    },
    raise(signal, now) {
      detection.raise(signal, now)
      listeners.notify()
    },
    onSignal: (listener) => listeners.add(listener),
  }
}

/** Everything that follows the log of this process. */
export interface Consumers {
  readonly detection: WatchedDetection
  readonly all: readonly LogConsumer[]
  /** Throws where detection has not read enough of the log to decide by it. */
  assertRiskKnown(): void
}

/**
 * Resolves once each has taken every entry of the log; closing them, which saves their states, is
 * added to `closers`.
 */
export async function openConsumers(
  environment: Environment,
  { ledger, keys, feed, erasures }: Pick<Stores, 'ledger' | 'keys' | 'feed' | 'erasures'>,
  closers: Closer[],
): Promise<Consumers> {
  const { config, clock, random, log } = environment
  const detection = composeDetection()
  const name = 'detection'
  const { origin, slot } = ledger
  const consumer = await LogConsumer.open({
    ...{ name, ledger, clock, log },
    state: new ObservedEntries(detection, config.trustDomain),
    file: new StateFile({
      ...{ name: `${name}-${slot}`, origin, keys: keys.stateOf(name), random, files: systemFiles },
      directory: join(config.dataDir, 'consumers'),
    }),
    recordRebuilt: (rebuilt) => recordRebuilt(environment, feed, rebuilt),
  })
  closers.push({ name, close: () => consumer.close() })
  // An erasure of which a crash left this out is open still.
  await erasures.cover([consumer])
  return { detection, all: [consumer], assertRiskKnown: () => consumer.assertCurrent() }
}

import { join } from 'node:path'
import { ListenerSet } from '@countersign/protocol'
import type { Closer } from '../concurrency/closing.ts'
import { createDetection, type RestorableDetection } from '../detection/create-detection.ts'
import { type DerivedState, LogConsumer } from '../ledger/log-consumer.ts'
import { StateFile } from '../ledger/state-file.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { Activity } from '../observe/activity.ts'
import { ActiveEdges } from './active-edges.ts'
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
  readonly activity: Activity
  readonly all: readonly LogConsumer[]
  /** Those without which nothing is decided. */
  readonly needed: readonly LogConsumer[]
  /** Throws where detection has not read enough of the log to decide by it. */
  assertRiskKnown(): void
}

/**
 * Resolves once each has taken every entry of the log; closing them, which saves their states, is
 * added to `closers`.
 */
export async function openConsumers(
  environment: Environment,
  stores: Pick<Stores, 'ledger' | 'keys' | 'feed' | 'erasures'>,
  closers: Closer[],
): Promise<Consumers> {
  const { trustDomain } = environment.config
  const detection = composeDetection()
  const activity = new Activity()
  const open = async (name: string, state: DerivedState): Promise<LogConsumer> => {
    const consumer = await openConsumer(environment, stores, { name, state })
    closers.push({ name, close: () => consumer.close() })
    return consumer
  }
  const risk = await open('detection', new ObservedEntries(detection, trustDomain))
  const edges = await open('activity', new ActiveEdges(activity, trustDomain))
  const all = [risk, edges]
  // An erasure of which a crash left these out is open still.
  await stores.erasures.cover(all)
  return { detection, activity, all, needed: [risk], assertRiskKnown: () => risk.assertCurrent() }
}

function openConsumer(
  environment: Environment,
  { ledger, keys, feed }: Pick<Stores, 'ledger' | 'keys' | 'feed'>,
  { name, state }: { readonly name: string; readonly state: DerivedState },
): Promise<LogConsumer> {
  const { config, clock, random, log } = environment
  const { origin, slot } = ledger
  return LogConsumer.open({
    ...{ name, ledger, state, clock, log },
    file: new StateFile({
      ...{ name: `${name}-${slot}`, origin, keys: keys.stateOf(name), random, files: systemFiles },
      directory: join(config.dataDir, 'consumers'),
    }),
    recordRebuilt: (rebuilt) => recordRebuilt(environment, feed, rebuilt),
  })
}

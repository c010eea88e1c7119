import { directoryContract } from '../../../../../test/contracts/directory.ts'
import { type MakeState, stateStoreContract } from '../../../../../test/contracts/state-store.ts'
import { memoryStateStore, StateMemory } from './state-store.ts'

const make: MakeState = async (historyRows) => {
  const memory = new StateMemory(historyRows)
  return async () => memoryStateStore(memory)
}

stateStoreContract('memory', make)
directoryContract('memory', make)

import { directoryContract } from '../../../../../test/contracts/directory.ts'
import { stateStoreContract } from '../../../../../test/contracts/state-store.ts'
import { memoryStateStore, StateMemory } from './state-store.ts'

stateStoreContract('memory', async (historyRows) => {
  const memory = new StateMemory(historyRows)
  return async () => memoryStateStore(memory)
})
directoryContract('memory', async () => memoryStateStore())

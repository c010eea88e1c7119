import { directoryContract } from '../../../../../test/contracts/directory.ts'
import { stateStoreContract } from '../../../../../test/contracts/state-store.ts'
import { memoryStateStore } from './state-store.ts'

stateStoreContract('memory', async () => memoryStateStore())
directoryContract('memory', async () => memoryStateStore())

import { twoReplicas } from '../contracts/two-replicas.ts'
import { openReplicas } from '../harness/replicas.ts'

twoReplicas('one data folder with SQLite', () => openReplicas({ folders: ['data', 'data'] }))

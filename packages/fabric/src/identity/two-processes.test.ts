import { testPlace } from '../../../../test/contracts/identity-lab.ts'
import { twoProcessesContract } from '../../../../test/contracts/two-processes.ts'

twoProcessesContract('memory', async () => testPlace())

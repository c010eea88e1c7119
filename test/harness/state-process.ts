import { openSqliteStateStore } from '../../packages/fabric/src/adapters/sqlite/state-store.ts'
import { createApiKeys } from '../../packages/fabric/src/identity/api-keys.ts'
import { createGuards } from '../../packages/fabric/src/identity/guards.ts'
import { createDirectory } from '../../packages/fabric/src/identity/stored-directory.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { StateStream } from '../../packages/fabric/src/state/state-stream.ts'

/** Directory and API keys of another process on the same `state.db`, which must be closed. */
export async function openOtherProcess(path: string) {
  const store = await openSqliteStateStore(path)
  const stream = await StateStream.open({
    ...{ store, clock: systemClock },
    onFatal: (cause) => {
      throw new Error('the state cannot be followed', { cause })
    },
  })
  const directory = createDirectory(stream, createGuards(stream))
  const deps = { stream, directory, clock: systemClock, random: systemRandom }
  return { stream, directory, apiKeys: createApiKeys(deps) }
}

/** As a program: gives the agent `of` one role after another, and removes an API key. */
const [, program, path = '', of = '', role = '', count = '0', keyId = ''] = process.argv
if (program === import.meta.filename) {
  const { stream, directory, apiKeys } = await openOtherProcess(path)
  for (let i = 0; i < Number(count); i += 1) {
    await directory.update(
      of,
      (present) => present && { ...present, roles: [...present.roles, `${role}${i}`] },
    )
  }
  process.stdout.write(`${await apiKeys.remove(keyId)}\n`)
  await stream.close()
}

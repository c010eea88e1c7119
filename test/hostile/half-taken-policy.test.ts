import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const forbidden = '@id("late")\nforbid(principal == Agent::"caller", action, resource);'

const put = (world: World, name: string, text: string) =>
  world.admin('policy.put', { name, text }) as Promise<{ taken: boolean; problems: string[] }>

const folderOf = ({ dir }: World): string => join(dir, 'data', 'policies')

const textsIn = (dir: string): readonly string[] =>
  readdirSync(dir).map((name) => `${name} ${readFileSync(join(dir, name), 'latin1')}`)

/** An attacker has spoiled another file of the folder, so that a set of it cannot take force. */
const besideSpoiled =
  (spoiled: Uint8Array): Attempt =>
  () =>
    inOwnWorld({ receivers: ['echo'] }, async (world) => {
      const dir = folderOf(world)
      const path = join(dir, 'spoiled.cedar')
      writeFileSync(path, spoiled)
      const before = textsIn(dir)
      const told = await put(world, 'late.cedar', forbidden)
      expect(told).toMatchObject({ taken: false, problems: [expect.stringContaining('spoiled')] })
      // A rejected policy does not wait there for the day when the other file is corrected.
      expect(textsIn(dir)).toEqual(before)
      rmSync(path)
      expect(await put(world, 'other.cedar', '// nothing')).toMatchObject({ taken: true })
      expect((await send(world.gateway)).status).toBe(200)
      // And a put may be what corrects it.
      writeFileSync(path, spoiled)
      expect(await put(world, 'spoiled.cedar', '// whole again')).toMatchObject({ taken: true })
    })

attack(
  verifies(
    ['authorize:reload'],
    'a policy that was reported to its author as not taken never takes force',
  ),
  {
    gateway: {
      'next to a file that does not compile': besideSpoiled(Buffer.from('permit(')),
      'next to a file that is not text': besideSpoiled(Buffer.from([0xff, 0xfe])),
    },
    mesh: 'connectors follow the policies in force',
    queue: 'the fabric decides on its channels itself',
  },
)

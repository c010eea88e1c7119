import type { Door } from './doors.ts'
import { type FabricRequest, withOwnConnector } from './own-connector.ts'
import type { World } from './world.ts'

export interface Late {
  /** The connector, past the gateway. */
  readonly direct: Door
  /** Withholds news of the fabric from now on. */
  cut(): void
  /** Lets through what was withheld. */
  tell(): void
}

/**
 * Runs a connector next to `name` that receives news of the fabric only when the test releases
 * them.
 */
export async function withLateNews(
  world: World,
  name: string,
  scene: (late: Late) => Promise<void>,
): Promise<void> {
  let told = Promise.withResolvers<void>()
  told.resolve()
  const change =
    (honest: FabricRequest): FabricRequest =>
    async (order) => {
      const answer = await honest(order)
      if (order.path.startsWith('/v1/mesh/state')) await told.promise
      return answer
    }
  await withOwnConnector(world, { name, change }, async ({ direct }) => {
    try {
      await scene({
        direct,
        cut: () => {
          told = Promise.withResolvers()
        },
        tell: () => told.resolve(),
      })
    } finally {
      told.resolve()
    }
  })
}

import type { FabricReady } from './fabric-process.ts'
import { addedLatency, type Bench, pace, saturate, secured, type Taken } from './hop.ts'
import type { GatewayFigures } from './peers/rows.ts'
import { type Child, start } from './process.ts'

export interface FabricOrder {
  readonly dir: string
  /** The control that is removed, or `nothing`. */
  readonly without: string
}

/** Runs `work` while a fabric stands between the load and the receiver. */
export async function withFabric<Result>(
  { direct }: Bench,
  { dir, without }: FabricOrder,
  work: (fabric: Child<FabricReady>) => Promise<Result>,
): Promise<Result> {
  const fabric = await start<FabricReady>('./fabric-process.ts', [dir, without, direct])
  try {
    return await work(fabric)
  } finally {
    await fabric.stop()
  }
}

export function saturateFabric(bench: Bench, order: FabricOrder): Promise<Taken> {
  return withFabric(bench, order, (fabric) => saturate(bench, secured(fabric.ready), fabric))
}

export interface FabricFigures extends GatewayFigures {
  /** Processor time for a request at `quietPerSecond`, microseconds. */
  readonly quietCpuUs: number
  /** Right after saturation. */
  readonly rssMb: number
}

/** A rate at which most of the work of a request is not shared with others. */
export const quietPerSecond = 200

/** Every control on. */
export function measureFabric(bench: Bench, dir: string): Promise<FabricFigures> {
  return withFabric(bench, { dir, without: 'nothing' }, async (fabric) => {
    const target = secured(fabric.ready)
    const taken = await saturate(bench, target, fabric)
    const rssMb = fabric.rssMb()
    const halfPerSecond = taken.perSecond / 2
    const added = await addedLatency(bench, target, halfPerSecond)
    const quiet = await pace(bench, target, quietPerSecond, fabric)
    return { taken, halfPerSecond, added, quietCpuUs: quiet.cpuUs, rssMb }
  })
}

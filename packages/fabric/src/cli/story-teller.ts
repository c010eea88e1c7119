import type { Output } from './output/output.ts'
import type { StartedFabric } from './running-fabric.ts'

/**
 * Tells the demo story on this fabric; true when every step and every receipt of it held. Where the
 * fabric ends with the story, the reader is not sent to its console.
 */
export async function tellStory(
  fabric: StartedFabric,
  output: Output,
  keepsRunning: boolean,
): Promise<boolean> {
  const { runDemo } = await import('./demo/story.ts')
  return runDemo({
    origin: fabric.origin,
    dataDir: fabric.dataDir,
    operator: fabric.operator,
    out: output.terminal,
    json: output.json,
    keepsRunning,
  })
}

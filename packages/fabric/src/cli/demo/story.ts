import { systemClock } from '../../lib/clock.ts'
import type { FabricClient } from '../fabric-client.ts'
import type { Terminal } from '../output/terminal.ts'
import { createNarrator, type Narrator, type StepReport } from './narrator.ts'
import type { Scene } from './scene.ts'
import { SCENES } from './scenes.ts'
import { openStage, type Stage } from './stage.ts'
import { within } from './within.ts'

export interface DemoOptions {
  readonly origin: string
  readonly dataDir: string
  readonly operator: FabricClient
  readonly out: Terminal
  readonly json: boolean
  /** False when the fabric ends with the demo; then the demo prints how to start one instead. */
  readonly keepsRunning?: boolean
}

/** The slowest scene has two waits of its own; one that needs longer hangs. */
const sceneMsMax = 120_000

/**
 * Tells the story on a running fabric, with three agents in processes of their own; true when every
 * step and every receipt of it held. The processes end with the story, whichever way it ends; the
 * agents stay enrolled, and the demo's policies stay in force.
 */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const narrator = createNarrator({ keepsRunning: true, ...options })
  const startedAt = systemClock.monotonic()
  const reports: StepReport[] = []
  narrator.begin()
  const stage = await openStage(options).catch((error: unknown) => {
    reports.push(failed('setup', systemClock.monotonic() - startedAt, error))
    return null
  })
  if (stage === null) reports.forEach((report) => narrator.step(report))
  else {
    narrator.introduce({ processes: stage.processes, ms: systemClock.monotonic() - startedAt })
    await playAll(stage, narrator, reports)
  }
  const ok = reports.every((report) => report.ok)
  const { operator } = options
  const logSize = await operator.admin<{ ledger: { size: number } }>('status').then(
    ({ ledger }) => ledger.size,
    () => null,
  )
  narrator.end({ ok, ms: systemClock.monotonic() - startedAt, logSize, steps: reports })
  return ok
}

async function playAll(stage: Stage, narrator: Narrator, reports: StepReport[]): Promise<void> {
  try {
    for (const scene of SCENES) {
      const report = await playScene(scene, stage)
      reports.push(report)
      narrator.step(report)
    }
  } finally {
    await stage.close()
  }
}

async function playScene(scene: Scene, stage: Stage): Promise<StepReport> {
  const { step, title } = scene
  const startedAt = systemClock.monotonic()
  try {
    const played = await within(scene.play(stage), sceneMsMax, `${step} did not end`)
    const ok = played.checks.every((check) => check.ok)
    return { step, title, ok, ms: systemClock.monotonic() - startedAt, ...played }
  } catch (error) {
    return { ...failed(step, systemClock.monotonic() - startedAt, error), title }
  }
}

function failed(step: string, ms: number, error: unknown): StepReport {
  const says = error instanceof Error ? error.message : String(error)
  const checks = [{ says, ok: false }]
  return { step, title: 'the agents get ready', ok: false, ms, checks, seen: [], facts: {} }
}

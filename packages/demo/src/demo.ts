import type { DemoClock, DemoDeps } from './deps.ts'
import { createPrinter, type Printer, type StepReport } from './printer.ts'
import { openSetup, type Setup } from './setup.ts'
import type { Step } from './step.ts'
import { STEPS } from './steps.ts'
import { within } from './within.ts'

/** The slowest step waits twice; a step that needs longer hangs. */
const stepMsMax = 120_000

/**
 * Runs the demo on a running fabric, with three agents in processes of their own; true when every
 * check of every step held. The processes end with the demo, also when it fails; the agents stay
 * enrolled, and the demo's policies stay in force.
 */
export async function runDemo(deps: DemoDeps): Promise<boolean> {
  const { clock, operator } = deps
  const printer = createPrinter(deps)
  const startedAt = clock.monotonic()
  const reports: StepReport[] = []
  printer.begin()
  const setup = await openSetup(deps).catch((error: unknown) => {
    reports.push(failed('setup', clock.monotonic() - startedAt, error))
    return null
  })
  if (setup === null) reports.forEach((report) => printer.step(report))
  else {
    printer.ready({ processes: setup.processes, ms: clock.monotonic() - startedAt })
    await runSteps(setup, printer, reports)
  }
  const ok = reports.every((report) => report.ok)
  const logSize = await operator.admin('status', {}).then(
    ({ ledger }) => ledger.size,
    () => null,
  )
  printer.end({ ok, ms: clock.monotonic() - startedAt, logSize, steps: reports })
  return ok
}

async function runSteps(setup: Setup, printer: Printer, reports: StepReport[]): Promise<void> {
  try {
    for (const step of STEPS) {
      const report = await runStep(step, setup, setup.clock)
      reports.push(report)
      printer.step(report)
    }
  } finally {
    await setup.close()
  }
}

async function runStep(step: Step, setup: Setup, clock: DemoClock): Promise<StepReport> {
  const { name, title } = step
  const startedAt = clock.monotonic()
  try {
    const result = await within(step.run(setup), stepMsMax, `${name} did not end`)
    const ok = result.checks.every((check) => check.ok)
    return { step: name, title, ok, ms: clock.monotonic() - startedAt, ...result }
  } catch (error) {
    return { ...failed(name, clock.monotonic() - startedAt, error), title }
  }
}

function failed(step: string, ms: number, error: unknown): StepReport {
  const says = error instanceof Error ? error.message : String(error)
  const checks = [{ says, ok: false }]
  return { step, title: 'the agents get ready', ok: false, ms, checks, seen: [], facts: {} }
}

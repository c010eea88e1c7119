import { type ResourceLimits, Worker } from 'node:worker_threads'

/** Starts `file`, named as in the sources, as a thread: the built package has it as JavaScript. */
export function startWorker(
  file: URL,
  name: string,
  workerData: unknown,
  resourceLimits: ResourceLimits = {},
): Worker {
  const fromSource = import.meta.url.endsWith('.ts')
  return new Worker(fromSource ? file : new URL(file.href.replace(/\.ts$/, '.js')), {
    name,
    workerData,
    resourceLimits,
    execArgv: fromSource ? ['--conditions=countersign-source'] : [],
  })
}

import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from './lib/refusal.ts'
import { inspectParts } from './pipeline/inspect-parts.ts'
import { createRedactor } from './redaction/create-redactor.ts'
import { InspectionWork, TooMuchWork } from './redaction/inspection-work.ts'
import { holdsCard } from './transports/http/card-content.ts'
import { classifyIncoming } from './transports/http/classify.ts'
import { taskReaders } from './transports/http/task-reader.ts'
import type { BodyAnswer, BodyJob } from './transports/http/thread-lane.ts'

/** Entry of the threads that parse and inspect what would stop the event loop for too long. */
const redactor = createRedactor({ hashKey: workerData as Uint8Array })

function carryOut(job: BodyJob): BodyAnswer {
  if (job.name === 'classify') {
    return answerOf(classifyIncoming(job.incoming, job.path, job.protocol, job.known))
  }
  if (job.name === 'card') return answerOf(holdsCard(job.body))
  if (job.name === 'tasks') return answerOf(taskReaders[job.question](job.body, job.owned))
  const { parts, steps } = job
  const order = steps === null ? job.order : { ...job.order, work: new InspectionWork(steps) }
  const inspected = inspectParts(parts, order, redactor)
  if (inspected instanceof Refusal) return answerOf(inspected)
  const isUnchanged = inspected.body === parts.body
  return answerOf({ ...inspected, body: isUnchanged ? null : inspected.body })
}

function answerOf(value: unknown): BodyAnswer {
  if (!(value instanceof Refusal)) return { value }
  const { code, detail, limit } = value
  return { refusal: { code, detail, limit } }
}

function post(answer: BodyAnswer): void {
  parentPort?.postMessage(answer)
}

parentPort?.on('message', (job: BodyJob) => {
  try {
    post(carryOut(job))
  } catch (cause) {
    post(cause instanceof TooMuchWork ? { isTooCostly: true } : { fault: String(cause) })
  }
})
post({ isReady: true })

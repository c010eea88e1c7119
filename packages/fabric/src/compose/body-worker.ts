import { parentPort, workerData } from 'node:worker_threads'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import { inspectParts } from '../pipeline/inspect-parts.ts'
import { kindOf } from '../protocols/a2a/card-content.ts'
import { taskReaders } from '../protocols/a2a/task-reader.ts'
import { classifyRequest } from '../protocols/classify.ts'
import {
  InspectionWork,
  inspectionStepsMax,
  stepsLimit,
  TooMuchWork,
} from '../redaction/inspection-work.ts'
import { createRedactor } from '../redaction/scan/create-redactor.ts'
import type { BodyAnswer, BodyJob } from '../transports/http/thread-lane.ts'

/** Entry of the threads that parse and inspect what would stop the event loop for too long. */
const redactor = createRedactor({ hashKey: workerData as Uint8Array })

function carryOut(job: BodyJob): BodyAnswer {
  const work = new InspectionWork(job.steps ?? inspectionStepsMax)
  if (job.name === 'classify') {
    const { received, path, protocol, known } = job
    return answerOf(classifyRequest(received, path, protocol, { known, work }))
  }
  if (job.name === 'content') return answerOf(kindOf(job.content, job.contentType, work))
  if (job.name === 'tasks') return answerOf(taskReaders[job.question](job.body, job.owned, work))
  const { parts, steps } = job
  // Without a bound of the lane's own, the redactor has its own account, and reports what it could
  // not inspect.
  const order = steps === null ? job.order : { ...job.order, work }
  const inspected = inspectParts(parts, order, redactor)
  if (inspected instanceof Refusal) return answerOf(inspected)
  const isUnchanged = inspected.body === parts.body
  return answerOf({ ...inspected, body: isUnchanged ? null : inspected.body })
}

function answerOf(value: unknown): BodyAnswer {
  if (!(value instanceof Refusal)) return { value }
  const { code, detail, limit, rpcId } = value
  return { refusal: { code, detail, limit, rpcId } }
}

function tooCostly({ steps }: BodyJob): BodyAnswer {
  if (steps !== null) return { isTooCostly: true }
  const limit = stepsLimit(inspectionStepsMax)
  return answerOf(overLimit('MESSAGE_TOO_LARGE', limit, 'too costly to read'))
}

function post(answer: BodyAnswer): void {
  parentPort?.postMessage(answer)
}

parentPort?.on('message', (job: BodyJob) => {
  try {
    post(carryOut(job))
  } catch (cause) {
    post(cause instanceof TooMuchWork ? tooCostly(job) : { fault: String(cause) })
  }
})
post({ isReady: true })

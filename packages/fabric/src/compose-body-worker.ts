import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from './lib/refusal.ts'
import { createRedactor } from './redaction/create-redactor.ts'
import type { BodyAnswer, BodyJob } from './transports/http/body-thread.ts'
import { classifyIncoming } from './transports/http/classify.ts'

/** Entry of the thread that parses and inspects large bodies. */
const redactor = createRedactor({ hashKey: workerData as Uint8Array })

function carryOut(job: BodyJob): BodyAnswer {
  if (job.name === 'classify') {
    return answerOf(classifyIncoming(job.incoming, job.path, job.protocol))
  }
  const redacted = redactor.redact(job.body, job.contentType, job.order)
  if (redacted instanceof Refusal) return answerOf(redacted)
  const isUnchanged = redacted.body === job.body
  return answerOf({ ...redacted, body: isUnchanged ? null : redacted.body })
}

function answerOf(value: unknown): BodyAnswer {
  if (!(value instanceof Refusal)) return { value }
  const { code, detail, limit } = value
  return { refusal: { code, detail, limit } }
}

parentPort?.on('message', (job: BodyJob) => {
  let answer: BodyAnswer
  try {
    answer = carryOut(job)
  } catch (cause) {
    answer = { fault: String(cause) }
  }
  parentPort?.postMessage(answer)
})

import { connect as connectHttp2 } from 'node:http2'
import { pemOf } from './raw-http.ts'
import type { World } from './world.ts'

export interface PollAnswer {
  readonly status: number
  readonly refusal: string
  readonly limit: string
  readonly text: string
}

/** Polls of the state as `who`, all on one HTTP/2 connection. */
export function openPolls(world: World, who: World['caller']) {
  const { port } = new URL(world.fabric.origin)
  const options = { ...pemOf(who.credential()), port: Number(port), rejectUnauthorized: false }
  const opened = connectHttp2(world.fabric.origin, options)
  opened.on('error', () => undefined)
  const ask = (after: number): Promise<PollAnswer> =>
    new Promise((resolve, reject) => {
      const stream = opened.request({ ':path': `/v1/mesh/state?after=${after}` })
      let head: Omit<PollAnswer, 'text'> = { status: 0, refusal: '', limit: '' }
      let text = ''
      stream.on('response', (fields) => {
        const [refusal, limit] = [fields['countersign-refusal'], fields['countersign-limit']]
        const status = Number(fields[':status'])
        head = { status, refusal: String(refusal ?? ''), limit: String(limit ?? '') }
      })
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      stream.once('error', reject)
      stream.once('close', () => resolve({ ...head, text }))
    })
  return { ask, end: () => opened.destroy() }
}

export const sequenceOf = ({ text }: PollAnswer): number =>
  (JSON.parse(text) as { sequence: number }).sequence

/** A poll ends by itself after a while, and with changes that a slow machine still works off. */
export async function untilNews(
  ask: (after: number) => Promise<PollAnswer>,
  from: number,
  isNews: (answer: PollAnswer) => boolean,
): Promise<PollAnswer> {
  for (let after = from; ; ) {
    const answer = await ask(after)
    if (answer.status !== 200 || isNews(answer)) return answer
    after = sequenceOf(answer)
  }
}

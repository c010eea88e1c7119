import { LoopTurns } from '../concurrency/loop-turns.ts'

const turns = new LoopTurns()

/**
 * The turns of all streams of this process: events, and frames in both directions. To be called
 * before each piece of `stream`, which reads no further while it waits; null where it may go on at
 * once.
 */
export const nextTurn = (stream: object): Promise<void> | null => turns.next(stream, '')

import type { Attack, Target } from './attack.ts'

/** The result of one attack. */
export interface Tally {
  /** Rounds that came to their end. */
  rounds: number
  /** Rounds that threw: the server hung up, or the attack is broken. */
  failed: number
  /** Times that the attack did what it is for. */
  effects: number
  lastFault: string
}

export function newTally(): Tally {
  return { rounds: 0, failed: 0, effects: 0, lastFault: '' }
}

/**
 * Counts a round that throws as failed: the effects distinguish a server that hangs up from an
 * attack that is broken.
 */
export async function fight(
  attack: Attack,
  target: Omit<Target, 'confirm'>,
  tally: Tally,
): Promise<void> {
  const confirm = (): void => {
    tally.effects += 1
  }
  try {
    await attack.round({ ...target, confirm })
    tally.rounds += 1
  } catch (error) {
    tally.failed += 1
    tally.lastFault = String(error)
  }
}

/**
 * Returns the reasons why a siege by these attacks shows less than it claims; empty when each of
 * them worked.
 */
export function tallyFaults(
  names: readonly string[],
  tallies: Readonly<Record<string, Tally>>,
): readonly string[] {
  return names.flatMap((name) => {
    const { rounds, failed, effects, lastFault } = tallies[name] ?? newTally()
    const why = lastFault === '' ? '' : `, the last one by ${lastFault}`
    if (effects === 0) return [`${name}: no effect in ${rounds} rounds; ${failed} failed${why}`]
    // A short siege may end before the first round of an attack does.
    return rounds === 0 && failed > 0 ? [`${name}: every round failed${why}`] : []
  })
}

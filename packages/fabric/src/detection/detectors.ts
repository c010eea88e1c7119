/**
 * The points that each detector adds to an agent's risk score (0 to 100), how fast they fade, and
 * how the alarm reads. One row per detector; `outside` is for signals that others raise.
 *
 * No single signal reaches 50 by itself: the policies that step up or stop at 50 and 80 want two
 * kinds of evidence, or the same kind again and again.
 */
export const DETECTORS = {
  rate: {
    weight: 30,
    halfLifeMs: 30 * 60_000,
    says: (seen: number, usual: number) =>
      `sent ${seen} messages within a minute, where about ${usual} are usual`,
  },
  refusals: {
    weight: 35,
    halfLifeMs: 60 * 60_000,
    says: (seen: number, usual: number) =>
      `was refused ${seen} times within a minute, where about ${usual} are usual`,
  },
  findings: {
    weight: 30,
    halfLifeMs: 2 * 60 * 60_000,
    says: (seen: number, usual: number) =>
      `sent ${seen} sensitive values within a minute, where about ${usual} are usual`,
  },
  volume: {
    weight: 30,
    halfLifeMs: 2 * 60 * 60_000,
    says: (seen: number, usual: number) =>
      `sent ${seen} KB within a minute, where about ${usual} are usual`,
  },
  credential: {
    weight: 25,
    halfLifeMs: 4 * 60 * 60_000,
    says: (count: number) => `sent ${count} credentials in one message`,
  },
  received: {
    weight: 12,
    halfLifeMs: 15 * 60_000,
    says: (seen: number, usual: number) =>
      `received ${seen} KB within a minute, where about ${usual} are usual`,
  },
  claimed: {
    weight: 12,
    halfLifeMs: 15 * 60_000,
    says: (seen: number) =>
      `sent ${seen} sensitive values, according to the connector of its receiver`,
  },
  declined: {
    weight: 12,
    halfLifeMs: 15 * 60_000,
    says: (seen: number, usual: number) =>
      `was refused ${seen} times within a minute by names or a status that others decide, where about ${usual} are usual`,
  },
  leak: {
    weight: 12,
    halfLifeMs: 15 * 60_000,
    says: (count: number) => `put ${count} credentials into one response`,
  },
  'new-edge': {
    weight: 18,
    halfLifeMs: 60 * 60_000,
    says: (receiver: string, action: string) => `used ${action} on ${receiver} for the first time`,
  },
  outside: { weight: 0, halfLifeMs: 4 * 60 * 60_000, says: () => '' },
} as const

export type DetectorName = keyof typeof DETECTORS

/**
 * The signals that the other end of an exchange can bring about, or alone vouches for. All of them
 * go into one account of the agent, which never counts for more than `byOthersMax`: the signals of
 * others, all of them together and for however long, stay below the 50 at which policies step up,
 * also together with any one signal of the agent's own, such as its first call to a receiver.
 */
const BY_OTHERS: ReadonlySet<string> = new Set<DetectorName>([
  'received',
  'claimed',
  'declined',
  'leak',
])
export const byOthersMax = 14

export function isByOthers(detector: string): boolean {
  return BY_OTHERS.has(detector)
}

/** The half-life of a signal; one of an unknown detector came from outside. */
export function halfLifeOf(detector: string): number {
  return Object.hasOwn(DETECTORS, detector)
    ? DETECTORS[detector as DetectorName].halfLifeMs
    : DETECTORS.outside.halfLifeMs
}

/**
 * The ways in which a command ends, for scripts. `docs/cli.md` and `countersign help exit-codes`
 * print this table.
 */
export const EXIT_CODES = [
  { code: 0, name: 'ok', means: 'it worked, and the answer is yes where there was a question' },
  { code: 1, name: 'no', means: 'the answer is no: a verification failed, a check found a fault' },
  { code: 2, name: 'usage', means: 'the command line or a file that it names cannot be used' },
  { code: 3, name: 'unreachable', means: 'no fabric is running there, or it cannot be reached' },
  { code: 4, name: 'refused', means: 'the fabric refused; its refusal code is printed' },
  {
    code: 5,
    name: 'unknown',
    means: 'it was sent, and whether it took effect is unknown: do not repeat it blindly',
  },
  {
    code: 6,
    name: 'pending',
    means: 'it is still under way, so that there is no answer yet: ask again',
  },
  { code: 70, name: 'internal', means: 'a fault of countersign itself' },
  {
    code: 74,
    name: 'broken',
    means: 'a resource is lost or used up: a full or faulty disk, a file, a thread',
  },
  { code: 75, name: 'cut', means: 'it was stopped before it had ended in order' },
] as const

export type ExitName = (typeof EXIT_CODES)[number]['name']

export function exitCode(name: ExitName): number {
  return EXIT_CODES.find((row) => row.name === name)?.code ?? 70
}

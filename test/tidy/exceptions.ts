/**
 * A place where a rule of the tidy test does not hold, and the reason. A row that is not needed any
 * more fails the test, so this list only ever holds what is true today.
 */
export interface Exception {
  /** A file, or a folder ending in `/`. */
  readonly where: string
  readonly reason: string
}

export type Exceptions = readonly Exception[]

/** Vendor packages outside `adapters/`, by package. */
export const VENDORS: Readonly<Record<string, Exceptions>> = {
  zod: [
    { where: 'packages/fabric/src/config/', reason: 'settings are parsed strictly, in one place' },
    { where: 'packages/fabric/src/admin/', reason: 'arguments of operations are parsed strictly' },
    { where: 'packages/fabric/src/identity/', reason: 'stored rows are parsed strictly when read' },
    { where: 'packages/fabric/src/routes/stored-routes.ts', reason: 'as those of identity' },
    {
      where: 'packages/fabric/src/backup/backup-document.ts',
      reason: 'the document of a backup is parsed strictly',
    },
    {
      where: 'packages/fabric/src/compose/restored-log.ts',
      reason: 'the note of a restore is parsed strictly',
    },
    { where: 'packages/fabric/src/ledger/erasures.ts', reason: 'as those of identity' },
    { where: 'packages/fabric/src/policy/policy-rows.ts', reason: 'as those of identity' },
    {
      where: 'packages/fabric/src/policy/policy-mirror.ts',
      reason: 'its marker is parsed strictly',
    },
  ],
  yaml: [
    { where: 'packages/fabric/src/config/', reason: 'the one file of settings is YAML' },
    { where: 'packages/fabric/src/compose/policy-check.ts', reason: 'policy tests are YAML' },
  ],
  ...Object.fromEntries(
    ['@a2a-js/sdk', '@modelcontextprotocol/server', '@modelcontextprotocol/client'].map(
      (vendor) => [
        vendor,
        [
          {
            where: 'packages/demo/src/',
            reason: 'the demo shows unmodified official SDKs',
          },
        ],
      ],
    ),
  ),
  commander: [{ where: 'packages/fabric/src/cli/', reason: 'the command line is its only user' }],
  hpke: [
    { where: 'packages/sdk/src/', reason: 'sealing happens at the ends, never in the fabric' },
  ],
}

/** Time and randomness taken directly, other than in `lib/clock.ts` and `lib/random.ts`. */
export const CLOCKS_AND_RANDOMNESS: Exceptions = []

/** Tests that pause for a fixed time. None of them can fail by how long that is. */
export const PAUSES: Exceptions = [
  {
    where: 'packages/fabric/src/concurrency/closing.test.ts',
    reason: 'its time is that of fake timers',
  },
  {
    where: 'packages/fabric/src/observe/disk-watch.test.ts',
    reason: 'nothing happens, and nothing says so',
  },
  {
    where: 'packages/fabric/src/channels/channels.test.ts',
    reason: 'a receiver that asks after the end is let go as one that waits',
  },
  {
    where: 'packages/sdk/src/call/reply.test.ts',
    reason: 'events that arrive together are dropped together',
  },
  {
    where: 'test/docs.test.ts',
    reason: 'looks again and again for a sign',
  },
  {
    where: 'test/e2e/slow-reader.test.ts',
    reason: 'that nothing is written for a second has no other sign',
  },
]

/** Sources longer than the file budget. */
export const LONG_FILES: Exceptions = []

/** Functions longer than the function budget, as `path#name`. */
export const LONG_FUNCTIONS: Exceptions = []

/** Imports against the direction between modules, as `importer -> imported`. */
export const DIRECTIONS: Exceptions = []

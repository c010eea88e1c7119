import {
  isAgentName,
  isConfidential,
  isReservedName,
  isSlotName,
  isTrustDomain,
} from '@countersign/protocol'
import { CONNECTION_LIMITS } from '@countersign/protocol/tls'
import { z } from 'zod'
import { engines } from './engines.ts'
import { issuers } from './issuers-schema.ts'
import { routeSchema } from './route-schema.ts'

const agentName = z
  .string()
  .refine(
    isAgentName,
    'a name has lower-case letters, digits, dot, dash and underscore, begins and ends with a letter or digit, and has 63 characters at most',
  )

const duration = (minimum: number, maximum: number, byDefault: number) =>
  z.int().min(minimum).max(maximum).default(byDefault)

/** Ends the checks of its value: what is not a URL is not asked for its scheme. */
const httpsUrl = { protocol: /^https$/, error: 'a URL that starts with https://', abort: true }
const httpUrl = {
  protocol: /^https?$/,
  error: 'a URL that starts with http:// or https://',
  abort: true,
}

const upstreamUrl = z
  .url(httpUrl)
  .describe(
    'The address on which the agent listens. Plain http is accepted for loopback addresses only.',
  )
  .refine(
    (text) => isConfidential(new URL(text)),
    'plain http leaves the machine in the clear; use https, or a connector next to the agent',
  )

const agent = z.strictObject({
  upstream: upstreamUrl,
  protocol: z
    .enum(['a2a', 'mcp', 'http', 'auto'])
    .default('auto')
    .describe('The agent’s protocol; on a fixed protocol, unknown operations are refused.'),
  roles: z.array(agentName).default([]),
  segment: z.union([agentName, z.literal('')]).default(''),
  attributes: z
    .record(z.string(), z.union([z.string(), z.int(), z.boolean()]))
    .default({})
    .describe('Facts that policies may compare, such as team or environment.'),
})

const listen = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1'),
    port: z.int().min(0).max(65_535).default(8443),
    publicUrl: z
      .url(httpsUrl)
      .refine((text) => text === new URL(text).origin, 'scheme, host and port only, no path')
      .optional()
      .describe(
        'The address by which clients reach the gateway, if it is not the listening address.',
      ),
    names: z
      .array(z.string().min(1))
      .default([])
      .describe('Further DNS names and addresses that the server certificate answers to.'),
  })
  .prefault({})

const masterKey = z
  .union(
    [
      z.strictObject({
        from: z.literal('key-file').default('key-file'),
        path: z.string().min(1).optional(),
      }),
      z.strictObject({ from: z.literal('passphrase-file'), path: z.string().min(1) }),
      z.strictObject({ from: z.literal('environment') }),
      z.strictObject({ from: z.literal('keyring') }),
    ],
    {
      error:
        'write `{ from: … }` with `key-file`, `passphrase-file`, `environment` or `keyring`, and for the first two a `path`',
    },
  )
  .default({ from: 'key-file' })
  .describe(
    'The key that seals the fabric’s own keys. There is no default key, only a default place.',
  )

const limits = z
  .strictObject({
    bodyBytes: z
      .int()
      .min(1024)
      .max(64 * 1024 * 1024)
      .default(4 * 1024 * 1024),
    requestMemoryBytes: z
      .int()
      .min(1024 * 1024)
      .max(64 * 1024 * 1024 * 1024)
      .default(256 * 1024 * 1024)
      .describe(
        'Request bodies of all clients together, while they arrive and are worked on: a quarter for ' +
          'one identity, half for one address, and never less than four of the largest bodies.',
      ),
    responseMemoryBytes: z
      .int()
      .min(1024 * 1024)
      .max(64 * 1024 * 1024 * 1024)
      .default(256 * 1024 * 1024)
      .describe(
        'Buffered answers and event streams of all receivers together, until they are written: a ' +
          'quarter for one receiver, half for one caller, and never less than four of the largest ' +
          'bodies.',
      ),
    requestsPerMinute: z.int().min(1).max(10_000_000).default(6_000),
    refusalsPerMinute: z
      .int()
      .min(1)
      .max(100_000)
      .default(600)
      .describe('Unauthenticated attempts recorded per address; beyond that, connections close.'),
    connections: z.int().min(1).max(100_000).default(4_096),
    openExchanges: z
      .int()
      .min(1)
      .max(65_536)
      .default(8_192)
      .describe('Exchanges that one caller, or one connector, may have under way at a time.'),
    upstreamTimeoutMs: duration(100, 3_600_000, 120_000),
    streamMs: duration(1_000, 86_400_000, 3_600_000),
    responseStallMs: duration(500, 3_600_000, CONNECTION_LIMITS.stallMs).describe(
      'A response of which the caller takes nothing for this long is destroyed.',
    ),
    unsentBytes: z
      .int()
      .min(1024 * 1024)
      .max(16 * 1024 * 1024 * 1024)
      .default(CONNECTION_LIMITS.unsentBytesMax)
      .describe('Response bytes that callers have not taken yet, of all connections together.'),
  })
  .prefault({})

const observe = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Enables the listener for probes and metrics.'),
    host: z
      .string()
      .min(1)
      .default('127.0.0.1')
      .describe(
        'The address of that listener, over plain HTTP: it shows how the process is and takes nothing.',
      ),
    port: z
      .int()
      .min(0)
      .max(65_535)
      .optional()
      .describe('Default: 9464, or a free one where that is taken; 0 takes a free one.'),
    names: z
      .array(z.string().min(1))
      .default([])
      .describe('Names by which monitoring systems call it; addresses and `localhost` need none.'),
  })
  .prefault({})

const log = z
  .strictObject({
    level: z.enum(['error', 'warn', 'info']).default('info').describe('The least that is logged.'),
    format: z
      .enum(['text', 'json'])
      .default('text')
      .describe('One event a line on stderr: for people, or as JSON.'),
  })
  .prefault({})

const day = z.iso
  .datetime({ offset: true })
  .or(z.iso.date())
  .refine((text) => Date.parse(text) >= 0, 'a time before 1970')

const hold = z
  .strictObject({
    from: day.describe('The first time that is held: a date, or a time of RFC 3339.'),
    until: day.optional().describe('The last one. Default: every later time.'),
    reason: z.string().min(1).max(500).describe('Why it is held, for those who ask.'),
  })
  .refine(
    ({ from, until }) => until === undefined || Date.parse(from) <= Date.parse(until),
    'it ends before it begins',
  )

/** Longer than any duty to keep records. */
const keepDaysMax = 36_500

const retention = z
  .strictObject({
    keepDays: z
      .int('a number of whole days')
      .min(1, 'at least 1 day; leave `retention` out to keep every entry')
      .max(keepDaysMax)
      .describe(
        'Entries that are older are removed, in blocks of 65,536; the hash tiles, and so every ' +
          'proof, stay. An hour at most after they may go.',
      ),
    holds: z
      .record(agentName, hold)
      .default({})
      .describe('Times whose entries are kept whatever their age, by the name of the hold.'),
  })
  .optional()
  .describe('Default: every entry is kept for ever.')

/**
 * `countersign.yaml`. Unknown keys are refused; leaving everything out gives a safe local fabric.
 */
export const configSchema = z.strictObject({
  trustDomain: z
    .string()
    .refine(isTrustDomain, 'a lower-case DNS-like name without port')
    .default('countersign.local'),
  dataDir: z.string().min(1).default('.countersign'),
  policyDir: z.string().min(1).optional().describe('Default: the folder `policies` in dataDir.'),
  identity: z.strictObject({ issuers }).prefault({}),
  listen,
  masterKey,
  engines,
  limits,
  observe,
  log,
  replica: z
    .boolean()
    .default(false)
    .describe(
      'Lets this process run next to others that share its state: it takes the first free log slot. ' +
        'Without it, a second process on a data folder is refused.',
    ),
  approvals: z
    .strictObject({
      webhook: z
        .url(httpUrl)
        .refine(
          (text) => isConfidential(new URL(text)),
          'plain http leaves the machine in the clear',
        )
        .refine((text) => new URL(text).username === '', 'a URL without a user and a password')
        .optional()
        .describe(
          'Receives a signed POST for each request for an approval: id, both ends, operation and ' +
            'end, without parameters. Private addresses are accepted.',
        ),
      pendingMinutes: z
        .int()
        .min(1)
        .max(10_080)
        .default(1_440)
        .describe('The time in which an approver can decide on a request.'),
    })
    .prefault({}),
  ledger: z
    .strictObject({
      slot: z
        .string()
        .refine(isSlotName, 'a lower-case letter, or one and a letter or digit')
        .optional()
        .describe(
          'The log slot of this process; the start fails while another process holds it. Default: `a`, ' +
            'and with `replica` the first free one of `a` to `z`.',
        ),
      leaseMs: duration(1_000, 600_000, 10_000).describe(
        'The time after which another process may take the log slot of one that does not renew it. ' +
          'Renewed three times in it.',
      ),
      headDir: z
        .string()
        .min(1)
        .optional()
        .describe(
          'The folder that keeps the last signed head. Outside dataDir, and outside what is backed up with ' +
            'it, a restored old copy of the ledger refuses to start instead of forking the log.',
        ),
      retention,
    })
    .prefault({}),
  agents: z
    .record(
      agentName.refine((name) => !isReservedName(name), 'this name is reserved for the fabric'),
      agent,
    )
    .default({}),
  routes: z.record(agentName, routeSchema).default({}),
})

export type ConfigDocument = z.infer<typeof configSchema>

/** JSON Schema (2020-12) of the file, for editors. */
export function configJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input' })
}

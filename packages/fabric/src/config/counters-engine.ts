import { resolve } from 'node:path'
import { loopbackHostnames } from '@countersign/protocol'
import { z } from 'zod'
import { type PasswordPlace, placePassword } from './password-place.ts'
import type { Environment } from './read.ts'

/** Ends the checks of its value: a text that is not a URL is not asked for its parts. */
const serverUrl = z
  .url({
    protocol: /^rediss?$/,
    error: 'a URL that starts with rediss://, or with redis:// on this machine',
    abort: true,
  })
  .describe(
    '`rediss://user@host:port/database`, without a password. `redis://` on a loopback address only.',
  )
  .refine((text) => new URL(text).password === '', {
    error:
      'a URL ends up in logs; put the password in `passwordFile` or COUNTERSIGN_COUNTERS_PASSWORD',
    abort: true,
  })
  .refine(isWhole, 'a host, and at most a user, a port and the number of a database')
  .refine((text) => new URL(text).protocol === 'rediss:' || isLoopback(text), {
    error: 'without TLS, anyone on the network could make a used nonce good again; use rediss://',
  })

function isWhole(text: string): boolean {
  const { hostname, pathname, search, hash } = new URL(text)
  return hostname !== '' && search === '' && hash === '' && /^(\/(\d{1,5})?)?$/.test(pathname)
}

function isLoopback(url: string): boolean {
  return loopbackHostnames.has(new URL(url).hostname)
}

export const counters = z
  .union(
    [
      z.strictObject({ engine: z.literal('memory').default('memory') }),
      z.strictObject({
        engine: z.literal('redis'),
        url: serverUrl,
        passwordFile: z
          .string()
          .min(1)
          .optional()
          .describe(
            'The file with the password, read for each connection; without it, COUNTERSIGN_COUNTERS_PASSWORD.',
          ),
        ca: z
          .string()
          .min(1)
          .optional()
          .describe(
            'The file (PEM) of the authorities of the server’s certificate; without it, those of the system.',
          ),
        prefix: z
          .string()
          .regex(/^[A-Za-z0-9:._-]{1,128}$/, 'letters, digits, colon, dot, dash and underscore')
          .optional()
          .describe(
            'The beginning of every key. Fabrics of one prefix share counters. Default: `countersign:` and the trust domain.',
          ),
      }),
    ],
    { error: 'write `{ engine: memory }`, or `{ engine: redis, url: … }`' },
  )
  .default({ engine: 'memory' })

export type CountersEngine =
  | { readonly engine: 'memory' }
  | {
      readonly engine: 'redis'
      readonly host: string
      readonly port: number
      readonly database: number
      /** Null for the default user. */
      readonly user: string | null
      readonly tls: boolean
      /** Path of a PEM file. */
      readonly ca: string | null
      readonly password: PasswordPlace
      readonly prefix: string
    }

export function placeCounters(
  asked: z.infer<typeof counters>,
  { countersPassword = null }: Environment,
  trustDomain: string,
): CountersEngine {
  if (asked.engine === 'memory') return asked
  const { protocol, hostname, port, username, pathname } = new URL(asked.url)
  return {
    engine: 'redis',
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? 6379 : Number(port),
    database: Number(pathname.slice(1)),
    user: username === '' ? null : decodeURIComponent(username),
    tls: protocol === 'rediss:',
    ca: asked.ca === undefined ? null : resolve(asked.ca),
    password: placePassword(asked.passwordFile, countersPassword),
    prefix: asked.prefix ?? `countersign:${trustDomain}`,
  }
}

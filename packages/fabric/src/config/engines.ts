import { resolve } from 'node:path'
import { loopbackHostnames } from '@countersign/protocol'
import { z } from 'zod'
import { counters } from './counters-engine.ts'
import { type PasswordPlace, placePassword } from './password-place.ts'
import type { Environment } from './read.ts'

/** Ends the checks of its value: a text that is not a URL is not asked for its parts. */
const databaseUrl = z
  .url({
    protocol: /^postgres(ql)?$/,
    error: 'a URL that starts with postgresql://',
    abort: true,
  })
  .describe('`postgresql://user@host:port/database`, without a password and without parameters.')
  .refine((text) => new URL(text).password === '', {
    error:
      'a URL ends up in logs; put the password in `passwordFile` or COUNTERSIGN_STATE_PASSWORD',
    abort: true,
  })
  .refine(isWhole, 'a user, a host and a database: postgresql://user@host/database')

function isWhole(text: string): boolean {
  const { username, hostname, pathname, search, hash } = new URL(text)
  const isPlain = search === '' && hash === ''
  return isPlain && username !== '' && hostname !== '' && /^\/[^/]+$/.test(pathname)
}

const state = z
  .union(
    [
      z.strictObject({ engine: z.literal('sqlite').default('sqlite') }),
      z
        .strictObject({
          engine: z.literal('postgresql'),
          url: databaseUrl,
          schema: z
            .string()
            .regex(
              /^[a-z_][a-z0-9_]{0,40}$/,
              'lower-case letters, digits and underscores, 41 characters at most',
            )
            .optional()
            .describe('The schema that holds the state, made when absent. Default: `countersign`.'),
          passwordFile: z
            .string()
            .min(1)
            .optional()
            .describe(
              'The file with the password, read for each connection; without it, COUNTERSIGN_STATE_PASSWORD.',
            ),
          tls: z
            .boolean()
            .optional()
            .describe(
              'TLS 1.2 or newer with a verified certificate and name. Default: unless the host is loopback.',
            ),
          ca: z
            .string()
            .min(1)
            .optional()
            .describe(
              'The file (PEM) of the authorities of the server’s certificate; without it, those of the system.',
            ),
        })
        .refine(({ url, tls }) => tls !== false || isLoopback(url), {
          error: 'without TLS the password and every change cross the network in the clear',
          path: ['tls'],
        }),
    ],
    { error: 'write `{ engine: sqlite }`, or `{ engine: postgresql, url: … }`' },
  )
  .default({ engine: 'sqlite' })

/** The engine of each port that has several. */
export const engines = z.strictObject({ state, counters }).prefault({})

export type StateEngine =
  | { readonly engine: 'sqlite' }
  | {
      readonly engine: 'postgresql'
      readonly host: string
      readonly port: number
      readonly database: string
      readonly user: string
      readonly schema: string
      readonly tls: boolean
      /** Path of a PEM file. */
      readonly ca: string | null
      readonly password: PasswordPlace
    }

export function placeState(
  asked: z.infer<typeof state>,
  { statePassword = null }: Environment,
): StateEngine {
  if (asked.engine === 'sqlite') return asked
  const { hostname, port, username, pathname } = new URL(asked.url)
  const { passwordFile, ca } = asked
  return {
    engine: 'postgresql',
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? 5432 : Number(port),
    database: decodeURIComponent(pathname.slice(1)),
    user: decodeURIComponent(username),
    schema: asked.schema ?? 'countersign',
    tls: asked.tls ?? !isLoopback(asked.url),
    ca: ca === undefined ? null : resolve(ca),
    password: placePassword(passwordFile, statePassword),
  }
}

function isLoopback(url: string): boolean {
  return loopbackHostnames.has(new URL(url).hostname)
}

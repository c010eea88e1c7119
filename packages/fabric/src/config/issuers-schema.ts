import { isAgentName, isIssuerUrl } from '@countersign/protocol'
import { z } from 'zod'

const name = z.string().refine(isAgentName, 'a name has lower-case letters, digits, . - _')
const value = z.string().min(1).max(256)
const rulesMax = 256

const claim = z
  .union([value.transform((text) => [text]), z.array(value).min(1).max(8)])
  .describe('The name of a claim, or the list of names that leads to it.')

/** None that is symmetric: the fabric, and a thief of its secret, could make tokens. */
const algorithm = z.enum([
  ...(['ES256', 'ES384', 'ES512', 'EdDSA'] as const),
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
])

/** Makes `issuers` in `identity`. */
export const issuers = z
  .array(
    z.strictObject({
      issuer: z
        .string()
        .refine(isIssuerUrl, 'an https URL with a lower-case host, without query and fragment'),
      audience: value.describe('The value that `aud` of a token must have, or hold.'),
      kind: z.enum(['agent', 'user']).default('user'),
      algorithms: z.array(algorithm).min(1).default(['ES256', 'EdDSA', 'RS256', 'PS256']),
      keyFile: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe('A JSON Web Key Set, read again every ten minutes. Default: by discovery.'),
      roles: z
        .array(z.strictObject({ claim, value, role: name }))
        .max(rulesMax)
        .default([]),
      segments: z
        .array(z.strictObject({ claim, value, segment: name }))
        .max(rulesMax)
        .default([]),
      attributes: z
        .array(z.strictObject({ name: value, claim, values: z.array(value).min(1).max(rulesMax) }))
        .max(rulesMax)
        .default([]),
    }),
  )
  .max(8)
  .refine(
    (given) => new Set(given.map(({ issuer }) => issuer)).size === given.length,
    'an issuer is listed once',
  )
  .default([])
  .describe(
    'OpenID Connect issuers whose tokens identify callers that are not in the directory. A claim ' +
      'gives nothing that no rule here names.',
  )

import { sign } from 'node:crypto'
import { toBase64Url, utf8 } from '@countersign/protocol'
import { AgentError, type Identity } from '@countersign/sdk'
import type { Command } from 'commander'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { collectNames } from '../option-values.ts'
import { formatDuration } from '../output/quantities.ts'

interface TokenOptions extends ClientOptions {
  readonly audience?: string
  readonly scope?: readonly string[]
}

interface Token {
  readonly accessToken: string
  readonly expiresIn: number
}

export function addTokenCommand(program: Command, context: CliContext): void {
  addClientOptions(
    program
      .command('token')
      .description('an access token of this identity; it is the only thing on stdout')
      .option('--audience <url>', 'the resource that it is for; this fabric without it')
      .option(
        '--scope <name>',
        'narrow it to this agent or channel; may be given again',
        collectNames,
      ),
  ).action(async ({ audience, scope = [], ...options }: TokenOptions) => {
    const output = outputOf(context, options)
    await withFabric(context, options, async ({ identity, origin }) => {
      const order = { issuer: `${origin}/oauth`, audience: audience ?? origin, scope }
      const token = await requestToken(identity, order, context)
      output.show(token, ({ accessToken }) => ({ whole: accessToken }))
      output.note(
        `\nGood for ${formatDuration(token.expiresIn * 1000)}, as \`Authorization: Bearer\`.`,
      )
    })
  })
}

interface TokenOrder {
  readonly issuer: string
  readonly audience: string
  readonly scope: readonly string[]
}

/** Client credentials (RFC 6749, section 4.4) with a signed assertion (RFC 7523, section 2.2). */
async function requestToken(
  identity: Identity,
  order: TokenOrder,
  around: { readonly clock: Clock; readonly random: Random },
): Promise<Token> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: identity.name,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: createAssertion(identity, order.issuer, around),
    resource: order.audience,
  })
  if (order.scope.length > 0) form.set('scope', order.scope.join(' '))
  const response = await identity.connection.request({
    method: 'POST',
    path: '/oauth/token',
    headers: [
      ['accept', 'application/json'],
      ['content-type', 'application/x-www-form-urlencoded'],
    ],
    body: utf8(form.toString()),
    repeatable: false,
  })
  const answer = await readAnswer(response.body)
  const { access_token: accessToken, expires_in: expiresIn } = answer
  if (response.status === 200 && typeof accessToken === 'string' && typeof expiresIn === 'number') {
    return { accessToken, expiresIn }
  }
  const { error, error_description: description } = answer
  if (typeof error !== 'string')
    throw new AgentError('ANSWER_MALFORMED', `status ${response.status}`)
  const says = typeof description === 'string' ? `${error}: ${description}` : error
  throw new Failure(
    'refused',
    says,
    'check the audience and the scopes, and `countersign agent show`',
  )
}

const answerBytesMax = 64 * 1024

async function readAnswer(
  body: AsyncIterable<Uint8Array>,
): Promise<
  Readonly<Record<'access_token' | 'expires_in' | 'error' | 'error_description', unknown>>
> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > answerBytesMax) throw new AgentError('ANSWER_TOO_LARGE', 'token')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (cause) {
    throw new AgentError('ANSWER_MALFORMED', 'the token endpoint did not answer JSON', { cause })
  }
}

const assertionSeconds = 60

/** One audience, the issuer: an assertion that is also for others could be replayed by them. */
function createAssertion(
  { name, signing }: Identity,
  issuer: string,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): string {
  const now = Math.floor(clock.now() / 1000)
  const header = { alg: 'EdDSA', typ: 'JWT', kid: signing.keyId }
  const claims = {
    iss: name,
    sub: name,
    aud: issuer,
    jti: toBase64Url(random(18)),
    iat: now,
    exp: now + assertionSeconds,
  }
  const signed = [header, claims].map((part) => toBase64Url(utf8(JSON.stringify(part)))).join('.')
  return `${signed}.${toBase64Url(new Uint8Array(sign(null, utf8(signed), signing.privateKey)))}`
}

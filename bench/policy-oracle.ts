import type { AuthorizationCall, CedarValueJson, EntityJson } from '@cedar-policy/cedar-wasm/nodejs'
import type { PolicyRequest } from '../packages/fabric/src/policy/policy.ts'

type CedarWasm = typeof import('@cedar-policy/cedar-wasm/nodejs')

/** The result of cedar-wasm for one request: the reference that our compiler is compared with. */
export interface OracleAnswer {
  readonly effect: 'permit' | 'deny'
  readonly policies: readonly string[]
  readonly errors: readonly string[]
}

type Subject = PolicyRequest['principal'] | PolicyRequest['resource']

const types = { agent: 'Agent', user: 'User', channel: 'Channel', fabric: 'Fabric' } as const

/**
 * Decides by cedar-wasm itself, some hundred times slower than a `PolicySet`. `policies` maps ids
 * to texts. Throws when Cedar takes the policies or the request for malformed.
 */
export function askOracle(
  cedar: CedarWasm,
  policies: Readonly<Record<string, string>>,
  request: PolicyRequest,
): OracleAnswer {
  const answer = cedar.isAuthorized({
    ...toCedarRequest(request),
    policies: { staticPolicies: policies },
  })
  if (answer.type === 'failure') {
    throw new Error(answer.errors.map(({ message }) => message).join('; '))
  }
  const { decision, diagnostics } = answer.response
  return {
    effect: decision === 'allow' ? 'permit' : 'deny',
    policies: diagnostics.reason,
    errors: diagnostics.errors.map(({ policyId }) => policyId),
  }
}

/** A request in Cedar's JSON form, with just the entities that it is about. */
export function toCedarRequest(request: PolicyRequest): Omit<AuthorizationCall, 'policies'> {
  const { principal, resource, action } = request
  const entities = [...toEntities(principal), ...toEntities(resource)]
  const byUid = new Map(entities.map((entity) => [JSON.stringify(entity.uid), entity]))
  return {
    principal: uidOf(principal),
    action: { type: 'Action', id: action },
    resource: uidOf(resource),
    context: toCedarContext(request),
    entities: [...byUid.values()],
  }
}

function uidOf(subject: Subject): { readonly type: string; readonly id: string } {
  return { type: types[subject.kind], id: subject.name }
}

function toEntities(subject: Subject): readonly EntityJson[] {
  const uid = uidOf(subject)
  const id = `${uid.type}/${uid.id}`
  const tagsOf = (type: string): Record<string, CedarValueJson> =>
    Object.fromEntries(
      Object.entries(subject.attributes).filter(([, value]) => typeof value === type),
    )
  return [
    {
      uid,
      attrs: {
        name: subject.name,
        segment: { __entity: { type: 'Segment', id: subject.segment } },
        numbers: { __entity: { type: 'Numbers', id } },
        flags: { __entity: { type: 'Flags', id } },
      },
      parents: [
        ...[...new Set(subject.roles)].map((role) => ({ type: 'Role', id: role })),
        { type: 'Segment', id: subject.segment },
      ],
      tags: tagsOf('string'),
    },
    { uid: { type: 'Numbers', id }, attrs: {}, parents: [], tags: tagsOf('number') },
    { uid: { type: 'Flags', id }, attrs: {}, parents: [], tags: tagsOf('boolean') },
  ]
}

function toCedarContext({ context }: PolicyRequest): Record<string, CedarValueJson> {
  const at = new Date(context.time * 1000)
  return {
    ...context,
    labels: [...context.labels],
    now: { __extn: { fn: 'datetime', arg: at.toISOString() } },
    weekday: at.getUTCDay() === 0 ? 7 : at.getUTCDay(),
  }
}

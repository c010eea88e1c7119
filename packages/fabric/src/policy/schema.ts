/**
 * The Cedar schema that every policy is validated against, strictly. It mirrors `PolicyRequest`
 * (policy.ts); `values.ts` builds the same shape at run time, and the differential test proves it.
 *
 * Cedar gives all tags of an entity type one type. An attribute is therefore found by its own type:
 * text as a tag of the principal or resource itself, whole numbers in `numbers`, flags in `flags`.
 */
export const POLICY_SCHEMA = `
entity Role, Segment;
entity Numbers tags Long;
entity Flags tags Bool;

entity Agent, User, Channel, Fabric in [Role, Segment] = {
  name: String,
  segment: Segment,
  numbers: Numbers,
  flags: Flags,
} tags String;

type Circumstances = {
  transport: String,
  protocol: String,
  operation: String,
  tool: String,
  method: String,
  signed: Bool,
  risk: Long,
  labels: Set<String>,
  taskOwner: String,
  user: String,
  time: Long,
  now: datetime,
  weekday: Long,
};

action call appliesTo {
  principal: [Agent, User], resource: [Agent], context: Circumstances,
};
action publish, consume appliesTo {
  principal: [Agent, User], resource: [Channel], context: Circumstances,
};
action record appliesTo {
  principal: [Agent, User], resource: [Fabric], context: Circumstances,
};
action discover, read, administer appliesTo {
  principal: [Agent, User], resource: [Agent, Channel, Fabric], context: Circumstances,
};
`

export type SubjectKind = 'agent' | 'user' | 'channel' | 'fabric'

/** Cedar's name of each kind of subject. */
export const ENTITY_TYPES = {
  agent: 'Agent',
  user: 'User',
  channel: 'Channel',
  fabric: 'Fabric',
} as const satisfies Record<SubjectKind, string>

const everything = ['agent', 'channel', 'fabric'] as const

/** Resources that an action applies to; a request outside this table was never validated. */
export const RESOURCES_OF_ACTION = {
  call: ['agent'],
  publish: ['channel'],
  consume: ['channel'],
  record: ['fabric'],
  discover: everything,
  read: everything,
  administer: everything,
} as const

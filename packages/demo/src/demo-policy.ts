/** The names of the agents, which do not collide with other agents of the same fabric. */
export const AGENTS = {
  support: 'demo-support',
  billing: 'demo-billing',
  records: 'demo-records',
} as const

export const DEMO_CHANNEL = 'demo-handover'

/** The data classes that the demo masks, in their usual order. */
export const MASKED_CLASSES = ['card', 'iban', 'email', 'phone'] as const

export const DEMO_POLICY_FILE = 'demo.cedar'

/** Everything the demo's agents may do. It names them one by one, so it opens nothing to others. */
export const DEMO_POLICY = `// The rules of the demo. They name its agents only; delete the file when you are done.
// Every request that they do not permit stays denied.

// Support may ask billing, and both must sign. Billing needs no personal data to take a note, so
// the fabric masks it on the way, whatever the sender forgot.
@id("demo-support-asks-billing")
@description("Support asks billing over A2A; cards, IBANs, e-mail addresses and phone numbers are masked.")
@mask("${MASKED_CLASSES.join(', ')}")
@sign("request, response")
permit(
  principal == Agent::"${AGENTS.support}",
  action == Action::"call",
  resource == Agent::"${AGENTS.billing}"
) when {
  context.protocol == "a2a"
};

// Support may look records up. Deleting one is another tool, which no policy permits.
@id("demo-support-finds-records")
@description("Support talks MCP to records, and of its tools uses find_record only.")
@advice("Ask whoever owns the records before you widen this.")
permit(
  principal == Agent::"${AGENTS.support}",
  action == Action::"call",
  resource == Agent::"${AGENTS.records}"
) when {
  context.protocol == "mcp" &&
  (context.operation != "tools/call" || context.tool == "find_record")
};

// The sealed channel between the two: one writes, the other reads. The fabric can do neither.
@id("demo-support-hands-over")
@description("Support publishes to the hand-over channel.")
permit(
  principal == Agent::"${AGENTS.support}",
  action == Action::"publish",
  resource == Channel::"${DEMO_CHANNEL}"
);

@id("demo-billing-collects")
@description("Billing consumes from the hand-over channel.")
permit(
  principal == Agent::"${AGENTS.billing}",
  action == Action::"consume",
  resource == Channel::"${DEMO_CHANNEL}"
);
`

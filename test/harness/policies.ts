import { parseInWasm } from '../../packages/fabric/src/adapters/cedar/parse-in-wasm.ts'
import type { ParsedPolicy, PolicyParser } from '../../packages/fabric/src/policy/parser.ts'

/** Receivers by name: the role that policy permits them by, and the protocol of their route. */
export const RECEIVERS = {
  echo: { role: 'open', protocol: 'auto' },
  other: { role: 'open', protocol: 'auto' },
  a2a: { role: 'open', protocol: 'a2a' },
  mcp: { role: 'open', protocol: 'mcp' },
  masked: { role: 'masked', protocol: 'auto' },
  blocked: { role: 'blocked', protocol: 'auto' },
  strict: { role: 'signed', protocol: 'auto' },
  countersigned: { role: 'countersigned', protocol: 'auto' },
} as const

/**
 * The rights of callers in the world of the hostile tests: they may call receivers by role, each
 * role with obligations of its own. Anything refused there is refused although policy would permit
 * it.
 */
export const WORLD_POLICIES = `
@id("open")
permit(principal in Role::"caller", action == Action::"call", resource in Role::"open");

@id("masked")
@mask("card,email,credential")
permit(principal in Role::"caller", action == Action::"call", resource in Role::"masked");

@id("blocked")
@block("card,credential")
permit(principal in Role::"caller", action == Action::"call", resource in Role::"blocked");

@id("signed")
@sign("request")
permit(principal in Role::"caller", action == Action::"call", resource in Role::"signed");

@id("countersigned")
@sign("response")
permit(principal in Role::"caller", action == Action::"call", resource in Role::"countersigned");

@id("recorded")
permit(principal in Role::"caller", action == Action::"call", resource in Role::"caller")
when { context.transport == "mesh" };

@id("no-deleting")
forbid(principal, action == Action::"call", resource) when { context.tool == "delete" };

@id("channels")
permit(
  principal in Role::"caller",
  action in [Action::"publish", Action::"consume"],
  resource is Channel
);
`

/**
 * The real parser, asked once for the same texts, and in this process: a process for each change of
 * the policies takes longer than most attacks. `compile.test.ts` compares the two.
 */
export const policyParser: PolicyParser = rememberAnswers({
  async parse(schema, texts) {
    return parseInWasm(await import('@cedar-policy/cedar-wasm/nodejs'), schema, texts)
  },
})

/** A cached result may be shared, so it must not be changed. */
function rememberAnswers(parser: PolicyParser): PolicyParser {
  const answers = new Map<string, Promise<readonly ParsedPolicy[]>>()
  return {
    parse(schema, texts) {
      const order = JSON.stringify([schema, texts])
      const known = answers.get(order)
      if (known !== undefined) return known
      const asked = parser.parse(schema, texts)
      answers.set(order, asked)
      asked.catch(() => answers.delete(order))
      return asked
    },
  }
}

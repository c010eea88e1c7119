import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const twice = (name: string, first: string, second: string) => ({
  edit: (lines: readonly string[]) => [...lines, `${name}: ${first}`, `${name}: ${second}`],
})

attack(
  verifies(
    ['deliver:rebuilt', 'inspect:malformed'],
    'a field that is decided on and occurs twice is refused',
  ),
  {
    ...eachRefusedOnBoth('MESSAGE_MALFORMED', {
      Authorization: twice('Authorization', 'Bearer a.b.c', 'Bearer d.e.f'),
      'Authorization in two spellings': {
        edit: (lines) => [...lines, 'authorization: Bearer a.b.c', 'AUTHORIZATION: Bearer d.e.f'],
      },
      Host: { edit: (lines) => [...lines, 'Host: other.example'] },
      'Host, the same': { edit: (lines) => [...lines, lines[1] ?? ''] },
      'Content-Type': { edit: (lines) => [...lines, 'Content-Type: text/plain'] },
      'Content-Digest': twice('Content-Digest', 'sha-256=:AA==:', 'sha-256=:AQ==:'),
      Signature: twice('Signature', 'a=:AA==:', 'b=:AA==:'),
      'Signature-Input': twice('Signature-Input', 'a=();created=1', 'b=();created=1'),
      'Countersign-To': twice('Countersign-To', 'spiffe://a/agent/b', 'spiffe://a/agent/c'),
      'X-Api-Key': twice('X-Api-Key', 'csk_a', 'csk_b'),
      'Mcp-Session-Id': twice('Mcp-Session-Id', 'a', 'b'),
      'Mcp-Method': twice('Mcp-Method', 'tools/list', 'tools/call'),
      'Idempotency-Key': twice('Idempotency-Key', 'a', 'b'),
    }),
    queue: 'members come in by the gateway',
  },
)

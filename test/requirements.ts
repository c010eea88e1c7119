/**
 * Every promise this project makes, one row each. A test cites a row by naming it in its title,
 * `[record:refusals-too]`, or through `verifies`; `test/requirements/coverage.test.ts` fails on
 * rows without a citation and on ids that do not exist.
 */

export const TRANSPORTS = ['gateway', 'mesh', 'queue'] as const
export type Transport = (typeof TRANSPORTS)[number]

interface Requirement {
  readonly promise: string
  /** The transports that keep it; `fabric` for a promise that belongs to none. */
  readonly on: readonly (Transport | 'fabric')[]
  /**
   * The reason why a transport need not keep it. A row names all three transports, in one place or
   * the other.
   */
  readonly notOn?: Readonly<Partial<Record<Transport, string>>>
  /** Files of `test/hostile` with the attack that this promise withstands. */
  readonly attacks?: readonly string[]
}

const everywhere = ['gateway', 'mesh', 'queue'] as const
const fabric = ['fabric'] as const
const queueOnly = (what: string) => ({ gateway: what, mesh: what })
const noStreams = { queue: 'a channel hands over whole messages' } as const

export const REQUIREMENTS = {
  'authenticate:someone': {
    promise: 'A request without a credential is refused; there is no anonymous caller.',
    on: everywhere,
    attacks: ['missing-credential', 'unknown-scheme', 'cross-site-page'],
  },
  'authenticate:before-body': {
    promise:
      'Credentials are verified from the head before a byte of the body is read, and again once it is whole.',
    on: everywhere,
    attacks: ['body-before-credential', 'revoked-while-arriving', 'uninvited-body'],
  },
  'authenticate:own-host': {
    promise: 'A request names a host that the listener is known by, or is refused.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members come in by the gateway' },
    attacks: ['foreign-host'],
  },
  'authenticate:certificate': {
    promise:
      'A client certificate is accepted only from the trust domain’s own issuer, while it is valid.',
    on: everywhere,
    attacks: [
      'expired-certificate',
      'foreign-trust-domain',
      'endpoint-of-another',
      'tls-agent-as-authority',
      'tls-authority-as-agent',
      'tls-certificate-of-tomorrow',
      'tls-expired-certificate',
      'tls-federated-authority',
      'tls-missing-key-usage',
      'tls-name-constraints',
      'tls-no-identity',
      'tls-old-version',
      'tls-plain-http',
      'tls-self-signed',
      'tls-shuffled-chain',
      'tls-two-identities',
      'tls-unknown-trust-domain',
    ],
  },
  'authenticate:possession': {
    promise: 'No key enters the directory before its holder proved possession of it.',
    on: fabric,
    attacks: ['unproved-sealing-key'],
  },
  'authenticate:token': {
    promise: 'A token is accepted only with our issuer, our audience and a known key.',
    on: ['gateway', 'queue'],
    notOn: { mesh: 'the mesh knows callers by certificate only' },
    attacks: ['forged-token', 'token-for-another-audience', 'expired-token'],
  },
  'authenticate:api-key': {
    promise: 'An API key is kept as a hash, and is worthless once it is revoked.',
    on: ['gateway'],
    notOn: { mesh: 'certificates only', queue: 'members hold certificates or tokens' },
    attacks: ['worthless-api-key'],
  },
  'authenticate:key-bound': {
    promise: 'A token that is bound to a key is refused from whoever does not hold the key.',
    on: ['gateway', 'queue'],
    notOn: { mesh: 'the certificate is the key' },
    attacks: ['stolen-token'],
  },
  'authenticate:principal': {
    promise: 'A principal of the same name, but of another kind or issuer, is another one.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members of channels are principals of the directory' },
    attacks: ['same-name-other-issuer'],
  },
  'authenticate:conflicting': {
    promise: 'Two credentials that name different callers are both refused.',
    on: ['gateway', 'queue'],
    notOn: { mesh: 'only one kind of credential is read' },
    attacks: ['conflicting-credentials'],
  },
  'authenticate:expiry': {
    promise: 'What expires during a connection ends the right to use that connection.',
    on: everywhere,
    attacks: ['expired-during-connection', 'expired-message', 'outlived-receiver'],
  },
  'authenticate:no-resumption': {
    promise: 'No TLS session is resumed into an identity that was not proved again.',
    on: everywhere,
    attacks: [
      'resumed-session-after-revocation',
      'tls-resumed-after-expiry',
      'tls-resumed-without-certificate',
      'tls-ticket-of-another-peer',
    ],
  },
  'authenticate:signature': {
    promise: 'A request signature that does not cover what it must, or fails, refuses the request.',
    on: everywhere,
    attacks: [
      'swapped-body',
      'swapped-path',
      'signature-of-another-agent',
      'stale-signature',
      'borrowed-batch',
      'partial-signature',
      'signature-label',
      'ambiguous-signature',
      'stripped-signature',
    ],
  },
  'authenticate:replay': {
    promise: 'A signed request is accepted once.',
    on: everywhere,
    attacks: ['replayed-nonce', 'replayed-after-restart', 'replayed-message'],
  },
  'authenticate:identity-headers': {
    promise: 'Identity headers that a caller sends are dropped, never believed.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the sender is in the signed header of the sealed message' },
    attacks: ['forged-identity-header', 'forged-forwarding'],
  },
  'authenticate:quarantine': {
    promise: 'A quarantined agent is refused at once, with credentials that are otherwise good.',
    on: everywhere,
    attacks: ['quarantined-agent', 'renewal-in-quarantine', 'dismissed-receiver'],
  },
  'authenticate:join-once': {
    promise: 'A join token enrols one agent once, into the name it was made for.',
    on: fabric,
    attacks: ['reused-join-token'],
  },
  'authenticate:newcomer': {
    promise:
      'An agent is admitted from the moment of its enrolment: a connector that does not know it yet waits for news, within a bound.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric decides on its channels itself' },
    attacks: ['unheard-newcomer'],
  },
  'authenticate:rotation': {
    promise: 'An agent renews its certificate before it ends, and no exchange notices.',
    on: fabric,
  },
  'revoke:enrolment': {
    promise:
      'Enrolling an agent again ends every certificate, token, stream and address of its earlier enrolments.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members come in by the gateway' },
    attacks: ['outlived-enrolment', 'outlived-receiver'],
  },
  'revoke:for-good': {
    promise: 'A revoked name never comes back, whatever an operator asks of it afterwards.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the same directory decides' },
    attacks: ['revoked-agent-restored'],
  },
  'revoke:live': {
    promise: 'Revocation, quarantine or a policy change cuts live streams, and says so.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
    attacks: ['withdrawn-mid-stream'],
  },
  'revoke:long-answer': {
    promise: 'An answer that its caller takes slowly breaks off where the right to it ends.',
    on: fabric,
    attacks: ['long-answer-withdrawn'],
  },
  'revoke:follows-renewal': {
    promise: 'A stream goes on under a renewed certificate, and ends with the last of them.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
    attacks: ['renewed-mid-stream'],
  },
  'revoke:lease': {
    promise: 'A member that lost its right is handed no further message, and its leases end.',
    on: ['queue'],
    notOn: queueOnly('leases exist on channels only'),
    attacks: ['removed-member'],
  },
  'revoke:sender': {
    promise:
      'A stored message is handed out only while its sender may still publish it: otherwise it is held, or buried when its sender was revoked.',
    on: ['queue'],
    notOn: queueOnly('messages wait on channels only'),
    attacks: ['sender-without-its-right'],
  },
  'lease:passed-over': {
    promise:
      'What may not be handed over stands behind everything that has not been looked at: no sender keeps a receiver from what others sent.',
    on: ['queue'],
    notOn: queueOnly('messages wait on channels only'),
    attacks: ['flooded-channel'],
  },
  'authorize:every-delivery': {
    promise: 'A decision is made again after every wait, and before anything is handed over.',
    on: everywhere,
    attacks: [
      'stale-decision',
      'decision-in-the-queue',
      'decision-before-news',
      'stale-supervision',
      'moved-route',
    ],
  },
  'authorize:default-deny': {
    promise: 'What no policy permits is refused.',
    on: everywhere,
    attacks: ['outsider', 'receipt-of-others'],
  },
  'authorize:forbid-wins': {
    promise: 'One forbid outweighs any number of permits.',
    on: everywhere,
    attacks: ['forbidden-tool'],
  },
  'authorize:attributes': {
    promise: 'Policy decides on roles, segments, attributes, risk and time, as they are now.',
    on: everywhere,
    attacks: ['key-of-a-configured-receiver'],
  },
  'authorize:operation': {
    promise:
      'Policy decides on the operation and tool that the receiver will carry out, as parsed once.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed operations' },
    attacks: [
      'mismatched-operation-header',
      'unknown-operation',
      'session-that-goes-on',
      'unsupported-version',
      'push-address',
      'session-of-another-caller',
      'nameless-tool',
      'lookalike-member',
      'lax-call',
      'method-override',
      'spelled-agent-card',
    ],
  },
  'authorize:task-owner': {
    promise:
      'A task, conversation or resumable stream is open to its creator, unless policy permits more.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed operations' },
    attacks: ['task-of-another', 'reference-in-any-field', 'stale-supervision', 'list-in-disguise'],
  },
  'authorize:lax-reader': {
    promise:
      'What a lax reader could take for an A2A or MCP call passes as that call, or not at all.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed operations' },
    attacks: ['lax-call'],
  },
  'authorize:reload': {
    promise: 'A policy set is replaced whole or not at all, and a broken one changes nothing.',
    on: fabric,
    attacks: ['half-taken-policy'],
  },
  'authorize:one-set': {
    promise:
      'Processes that share a state decide by one set of policies; one that cannot compile it decides nothing.',
    on: fabric,
  },
  'authorize:no-policy': {
    promise: 'A fabric without a valid policy refuses to serve, and says which part is missing.',
    on: fabric,
  },
  'record:one-holder': {
    promise:
      'A process that was paused beyond the lease of its log slot signs, acknowledges and publishes nothing, and ends.',
    on: fabric,
  },
  'record:reproducible-decision': {
    promise:
      'A decision that a connector states is what policies that were in force here decide on both ends as the directory holds or held them lately; an intent has one that permits it, and a refusal is one to which it leads.',
    on: ['mesh'],
    notOn: {
      gateway: 'the fabric decides and records by itself',
      queue: 'the fabric decides and records by itself',
    },
    attacks: ['made-up-decision'],
  },
  'authorize:possible': {
    promise:
      'A policy of which `policy check` reports that it never matches, matches no request that can come.',
    on: fabric,
  },
  'authorize:same-as-cedar': {
    promise: 'Our evaluator and the reference one give the same decision for the same question.',
    on: fabric,
  },
  'authorize:scoped-token': {
    promise: 'A scoped token opens no more than its scope, whatever policy permits its holder.',
    on: ['gateway', 'queue'],
    notOn: { mesh: 'certificates carry no scope' },
    attacks: ['widened-scope', 'scoped-control'],
  },
  'authorize:rate': {
    promise: 'A caller over its rate is refused with the time to wait, and others are not.',
    on: everywhere,
    attacks: ['exhausted-allowance', 'refusal-flood', 'stated-rejection'],
  },
  'authorize:approval': {
    promise: 'What needs an approval does not pass without one for exactly this request.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'approvals are asked for requests that wait for an answer' },
    attacks: [
      'swapped-action',
      'answer-to-another-question',
      'self-approval',
      'user-behind-a-caller',
      'spent-approval',
      'borrowed-digest',
    ],
  },
  'inspect:mask': {
    promise: 'Data that policy masks reaches neither the receiver nor the ledger.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the sender masks before it seals' },
    attacks: ['hidden-card-number', 'disguised-secret', 'secret-outside-the-body'],
  },
  'inspect:charset': {
    promise: 'A body is inspected as the text that its receiver decodes, or does not pass.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed content' },
    attacks: ['other-charset', 'two-faced-answer'],
  },
  'inspect:block': {
    promise: 'A message with data that policy blocks is not delivered.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed content' },
    attacks: ['blocked-data'],
  },
  'inspect:response': {
    promise: 'Responses are held to the same rules as requests.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'an acknowledgement carries no content' },
    attacks: [
      'crooked-response',
      'made-up-allowance',
      'redirecting-receiver',
      'smuggled-response',
      'two-faced-answer',
    ],
  },
  'inspect:refusals-are-ours': {
    promise:
      'No receiver can give its response a name, field or event that means a refusal of ours, and no member of a channel a reason of ours to what it sets aside.',
    on: everywhere,
    attacks: [
      'imitated-refusal',
      'made-up-allowance',
      'stream-cut-by-the-gateway',
      'signature-on-a-channel',
      'two-faced-answer',
    ],
  },
  'inspect:malformed': {
    promise: 'A message that parsers could read in two ways is refused.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'sealed messages have one form' },
    attacks: [
      'second-question-mark',
      'duplicate-json-keys',
      'malformed-json',
      'prototype-member',
      'json-rpc-batch',
      'crooked-path',
      'foreign-authority',
      'body-of-a-get',
      'crooked-http2-field',
    ],
  },
  'inspect:unsupported': {
    promise: 'Content that cannot be inspected does not pass.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed content' },
    attacks: ['disguised-content-type', 'compressed-body'],
  },
  'inspect:labels': {
    promise: 'A sealed message passes only with the signed labels that policy asks for.',
    on: ['queue'],
    notOn: queueOnly('the content itself is inspected'),
    attacks: ['label-of-a-neighbour'],
  },
  'inspect:stream-events': {
    promise: 'Each event of a stream is inspected whole before any of it is forwarded.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
    attacks: ['secret-split-over-chunks'],
  },
  'stream:requests': {
    promise:
      'Each frame of a streamed request is inspected whole, and the right to go on decided, before it is forwarded.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'a message of a channel is whole' },
    attacks: ['streamed-request', 'stream-through-connectors', 'hoarded-streams', 'probing-stream'],
  },
  'stream:proved-frames': {
    promise:
      'A party that kept the record of its frames finds any other frames in the receipt; a stream is handed over once its signed head is verified.',
    on: fabric,
    attacks: ['altered-frames'],
  },
  'inspect:bounds': {
    promise: 'Heads, bodies, events and nesting have limits, and what exceeds one is refused.',
    on: everywhere,
    attacks: [
      'endless-body',
      'endless-head',
      'endless-event',
      'deep-nesting',
      'endless-name',
      'laborious-body',
      'laborious-answer',
      'crowd-of-ids',
      'single-bytes',
    ],
  },
  'inspect:fair-time': {
    promise:
      'Messages of one client take neither the event loop nor a thread from others for long.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed content' },
    attacks: ['costly-text'],
  },
  'record:intent-first': {
    promise:
      'The intent is durable before anything leaves for the receiver, and states a request whose checks are all passed.',
    on: everywhere,
  },
  'record:refusals-too': {
    promise: 'A refused message is recorded before its sender hears the refusal.',
    on: everywhere,
  },
  'record:ledger-failure': {
    promise: 'If the ledger cannot write, nothing is delivered and nothing is acknowledged.',
    on: everywhere,
    attacks: ['lost-record'],
  },
  'record:indeterminate': {
    promise:
      'Intents without an outcome are closed as indeterminate by the next start, however many.',
    on: everywhere,
  },
  'record:open-exchanges': {
    promise:
      'No caller leaves more exchanges open than its share, and none stays open without end.',
    on: everywhere,
    attacks: ['abandoned-exchanges'],
  },
  'start:clock': {
    promise:
      'A clock that is far behind the ledger is refused until the operator accepts it, on record.',
    on: fabric,
  },
  'record:acknowledged-survives': {
    promise:
      'What was acknowledged survives a crash at any write, and the loss of unsynced writes.',
    on: fabric,
  },
  'record:erasable': {
    promise:
      'Every entry that names an erased principal is unreadable, for good, in every log; all other entries and every proof stay.',
    on: fabric,
  },
  'record:no-bodies': {
    promise: 'The ledger holds commitments, never bodies, masked values or credentials.',
    on: fabric,
    attacks: ['stray-file'],
  },
  'record:ending': {
    promise:
      'Wherever an exchange is shown, it has one ending; an outcome that is unknown, or known to the receiver alone, is not called a refusal.',
    on: ['mesh'],
    notOn: {
      gateway: 'each exchange is closed by its own fabric: see deliver:unknown-outcome',
      queue: 'each exchange is closed by its own fabric: see deliver:unknown-outcome',
    },
    attacks: ['unknown-called-refused', 'two-endings'],
  },
  'record:findable': {
    promise:
      'A file of the index by which exchanges are searched answers only if this log wrote it for that part of its history; any other is made again.',
    on: fabric,
    attacks: ['index-of-another-time'],
  },
  'record:bounded-comparison': {
    promise:
      'A comparison of a kept checkpoint with a log ends within a bounded time and memory, whatever the server of the tiles does.',
    on: fabric,
    attacks: ['slow-tile-server'],
  },
  'record:bounded-operators': {
    promise:
      'Repeated copies, counts and erasures of one administrator hold up neither the channels nor those of another, and keep no slot from its start.',
    on: fabric,
    attacks: ['administrative-flood'],
  },
  'record:sound-backup': {
    promise:
      'A backup or restore waits for no special file, follows no link, reads no more than was copied, and hides no loss that the operator can show.',
    on: fabric,
    attacks: ['changed-backup', 'named-pipe'],
  },
  'record:append-only': {
    promise: 'Every later checkpoint is provably an extension of every earlier one.',
    on: fabric,
    attacks: [
      'rewritten-history',
      'entries-of-others',
      'repeated-ending',
      'withheld-ending',
      'stated-batches',
    ],
  },
  'record:attestor': {
    promise:
      'A connector attests only for principals that the fabric knows, now, in its own name, and never as the fabric.',
    on: ['mesh'],
    notOn: {
      gateway: 'the fabric attests what it saw itself',
      queue: 'the fabric attests what it saw itself',
    },
    attacks: ['forged-caller-in-entry', 'back-dated-entry', 'unknown-attestation'],
  },
  'record:one-bad-entry': {
    promise:
      'An entry that cannot be recorded is refused alone; whatever is on record can be shown.',
    on: ['mesh'],
    notOn: {
      gateway: 'the fabric makes its own entries',
      queue: 'the fabric makes its own entries',
    },
    attacks: ['poisoned-fact'],
  },
  'record:legible': {
    promise: 'No recorded value can imitate another line, value or column where people read it.',
    on: fabric,
    attacks: ['imitated-line', 'imitated-row', 'imitated-sender'],
  },
  'record:outside-tools': {
    promise: 'Checkpoints and proofs verify with the published formats alone.',
    on: fabric,
  },
  'record:policies': {
    promise:
      'A change of the policies is on record before it takes effect: their new version, the files, and the exchange that put them.',
    on: fabric,
  },
  'record:certified-keys': {
    promise:
      'The certificate of a short-lived key of the fabric is on record before the key signs anything.',
    on: fabric,
  },
  'record:certificates': {
    promise:
      'A certificate, enrolled or renewed, is on record before it takes effect and before its agent has it.',
    on: fabric,
  },
  'record:tokens': {
    promise: 'Every access token, and every refusal of one, is on record before its client hears.',
    on: fabric,
  },
  'record:explain': {
    promise: 'For every exchange, whoever may ask learns who, what, which policy and why.',
    on: fabric,
  },
  'deliver:rebuilt': {
    promise: 'What leaves is rebuilt from what was parsed, never forwarded raw.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'sealed bytes are passed on unread' },
    attacks: [
      'smuggled-request',
      'duplicate-security-header',
      'chunk-extension',
      'field-in-another-form',
    ],
  },
  'deliver:cards': {
    promise: 'An agent card that passes leads through the fabric and states its security.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'agents on a channel publish no card' },
    attacks: ['spelled-agent-card', 'two-faced-answer', 'card-of-another-binding'],
  },
  'deliver:hop-by-hop': {
    promise: 'Hop-by-hop fields and the fields they name end here, in both directions.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'no fields are forwarded' },
  },
  'deliver:events': {
    promise:
      'Events of a stream reach the caller one by one, in order, as the receiver sends them.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
  },
  'deliver:cancel': {
    promise: 'When the caller hangs up, the receiver’s side is ended and the outcome says so.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
  },
  'deliver:no-silent-repeat': {
    promise: 'What the receiver may have acted on is never sent again without saying so.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'at least once is what a channel promises' },
    attacks: ['invited-repeat', 'failing-receiver'],
  },
  'deliver:unknown-outcome': {
    promise:
      'Once a receiver may have acted, no refusal states that it has not, and no response has a client try again by a standard.',
    on: everywhere,
    attacks: [
      'receiver-that-breaks-off',
      'lost-response',
      'lost-record',
      'refusal-after-acting',
      'queued-call',
      'second-copy',
      'invited-repeat',
    ],
  },
  'deliver:balance': {
    promise: 'Exchanges are spread over healthy instances, and a failed one is left out.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'consumers compete for messages' },
  },
  'deliver:rate-of-writing': {
    promise: 'A slow reader slows its writer and holds a bounded amount of memory.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
  },
  'countersign:request': {
    promise: 'The caller’s signature covers method, target, receiver and body digest.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the sealed message is signed as a whole' },
  },
  'countersign:response': {
    promise:
      'The callee’s signature covers the request’s signature, so no answer fits another question.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the acknowledgement is what is countersigned' },
    attacks: ['moved-countersignature', 'swapped-response', 'forged-countersignature'],
  },
  'countersign:required': {
    promise:
      'Where policy asks for it, a response without a countersignature does not reach the caller.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'an acknowledgement without one is never accepted' },
    attacks: ['missing-countersignature'],
  },
  'receipt:offline': {
    promise: 'A receipt verifies without a network, against keys that its holder already has.',
    on: everywhere,
  },
  'receipt:any-bit': {
    promise:
      'A receipt with any bit changed does not verify, except its level and lines of witnesses, which prove nothing.',
    on: fabric,
    attacks: ['altered-receipt'],
  },
  'receipt:disclosure': {
    promise: 'A receipt that withholds or lacks a fact which decides what it says does not verify.',
    on: everywhere,
    attacks: ['withheld-facts', 'unknown-attestation'],
  },
  'receipt:whatever-is-recorded': {
    promise:
      'What is delivered, and what a connector states of it, every verifier accepts: no caller, callee or connector ruins the receipt of another.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'its operations stand in no path that another reader reads' },
    attacks: ['ruined-receipt', 'unverifiable-delivery'],
  },
  'receipt:whose-word': {
    promise:
      'Every fact of a receipt is shown with whose word it is: the party’s whose signature covers it, the fabric’s or a connector’s.',
    on: ['mesh'],
    notOn: {
      gateway: 'the fabric makes its own entries',
      queue: 'the fabric makes its own entries',
    },
    attacks: ['unsigned-claim'],
  },
  'receipt:ending': {
    promise: 'A verified receipt says first how the exchange ended, then who attested each half.',
    on: fabric,
  },
  'queue:ciphertext-only': {
    promise: 'Neither the fabric nor its disk ever holds the plaintext of a sealed message.',
    on: ['queue'],
    notOn: queueOnly('the gateway and the mesh inspect content'),
    attacks: ['curious-broker'],
  },
  'queue:sender-proved': {
    promise: 'A receiver opens only what a member of the epoch sealed and signed.',
    on: ['queue'],
    notOn: queueOnly('sealing belongs to channels'),
    attacks: ['forged-sender', 'swapped-ciphertext', 'swapped-channel'],
  },
  'queue:epochs': {
    promise:
      'A member that leaves a channel cannot open what is sealed after, nor a newcomer what came before.',
    on: ['queue'],
    notOn: queueOnly('epochs belong to channels'),
    attacks: ['removed-member'],
  },
  'queue:at-least-once': {
    promise: 'An accepted message is handed out until it is acknowledged, over restarts too.',
    on: ['queue'],
    notOn: queueOnly('there is nothing stored to hand out again'),
  },
  'queue:fenced-acknowledgement': {
    promise: 'An acknowledgement under a lost lease changes nothing.',
    on: ['queue'],
    notOn: queueOnly('leases exist on channels only'),
    attacks: ['late-acknowledgement', 'stolen-lease'],
  },
  'queue:dead-letter': {
    promise:
      'A message that fails too often becomes a dead letter, and is never lost or retried for ever.',
    on: ['queue'],
    notOn: queueOnly('there is nothing stored to set aside'),
  },
  'queue:acknowledgement-countersigned': {
    promise: 'An acknowledgement is signed by the consumer over the message it settles.',
    on: ['queue'],
    notOn: queueOnly('responses are countersigned there'),
    attacks: ['forged-acknowledgement', 'claimed-acknowledgement'],
  },
  'queue:idempotent': {
    promise: 'A repeated publish is stored once; the same key with other content is refused.',
    on: ['queue'],
    notOn: queueOnly('idempotency belongs to the receiver there'),
  },
  'queue:bounded': {
    promise: 'A full channel refuses; it drops nothing to make room.',
    on: ['queue'],
    notOn: queueOnly('nothing is stored'),
  },
  'secrets:encrypted': {
    promise: 'Secrets lie encrypted on disk, bound to their names, and are never logged or listed.',
    on: fabric,
    attacks: ['swapped-secret'],
  },
  'detection:risk': {
    promise: 'Behaviour that looks wrong raises the caller’s risk, and policy acts on it at once.',
    on: everywhere,
    attacks: ['denial-burst'],
  },
  'detection:by-others': {
    promise:
      'Claims of others about an agent and signals that they bring about, all of them together and for however long, add at most 14 to its risk.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric counts what it saw itself' },
    attacks: ['made-up-risk', 'brought-about-refusals'],
  },
  'admin:names': {
    promise:
      'The record of an administrative operation names its object and reason from the start, however it ends.',
    on: fabric,
    attacks: ['administrator-without-a-role'],
  },
  'admin:same-pipeline': {
    promise: 'Administrative requests are authenticated, authorized and recorded like any other.',
    on: fabric,
    attacks: ['administrator-without-a-role', 'second-door', 'page-of-an-agent'],
  },
  'operate:one-format': {
    promise:
      'A client or a data folder of an earlier format is refused with the remedy, and nothing of it is used or changed.',
    on: fabric,
    attacks: ['client-of-an-earlier-version'],
  },
  'operate:read-turns': {
    promise:
      'Searches of the ledger leave the event loop to requests and to other readers, however many one permitted reader sends.',
    on: fabric,
    attacks: ['flooding-reader'],
  },
  'operate:memory-share': {
    promise:
      'Request bodies, and requests without one, occupy bounded memory and places, per identity, per address and in total; a client that goes over its share loses its own requests.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members come in by the gateway' },
    attacks: ['hoarded-memory'],
  },
  'operate:waiting-share': {
    promise:
      'Requests that wait, and what is read for them, occupy bounded places and memory, per identity and in total; a change that many wait for reaches each of them.',
    on: fabric,
    attacks: ['waiting-polls', 'hoarded-leases'],
  },
  'operate:answer-memory': {
    promise:
      'What is held of receivers’ answers and events occupies bounded memory, per receiver, per caller and in total; one that goes over its share loses its own answers.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric itself answers on a channel' },
    attacks: ['hoarded-answers', 'untimely-answer'],
  },
  'operate:own-room': {
    promise:
      'A message waits for its inspection, an answer too; a lack of space or time in the fabric is never reported as the fault of its receiver.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'the fabric cannot read sealed content' },
    attacks: ['crowded-answers'],
  },
  'operate:fair-streams': {
    promise: 'No stream, however many and small its events, keeps other exchanges waiting.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
    attacks: ['tiny-events'],
  },
  'operate:fair-connections': {
    promise:
      'Connections to a receiver, and streams on them, that one caller holds leave some to others; no error on one of them ends the exchanges of another caller.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'a channel has no connection to a receiver' },
    attacks: ['hoarded-connections'],
  },
  'deliver:whole-streams': {
    promise: 'A stream or an answer that breaks off is never reported or recorded as whole.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
    attacks: ['truncated-answer'],
  },
  'inspect:one-line-reading': {
    promise:
      'Whatever ends a line to some reader of event streams ends one to all, or is not sent.',
    on: ['gateway', 'mesh'],
    notOn: noStreams,
    attacks: ['forged-line'],
  },
  'serve:unread': {
    promise:
      'Responses that their client does not take hold a bounded share of memory for a bounded time.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members come in by the gateway' },
    attacks: ['unread-responses'],
  },
  'serve:answered': {
    promise: 'A request that ends its connection is answered before the connection ends.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members come in by the gateway' },
    attacks: ['unusual-method', 'cut-refusal'],
  },
  'serve:browser-headers': {
    promise: 'What a browser opens says how it may be embedded, cached and reached.',
    on: fabric,
  },
  'operate:slow-requests': {
    promise: 'A request that is not whole in its time is refused with the limit that it reached.',
    on: ['gateway', 'mesh'],
    notOn: { queue: 'members come in by the gateway' },
    attacks: ['slow-request'],
  },
  'operate:frames': {
    promise:
      'A connection that sends more frames than its requests need is closed; others are answered meanwhile.',
    on: ['gateway'],
    notOn: { mesh: 'connectors speak HTTP/1.1', queue: 'members come in by the gateway' },
    attacks: ['http2-flood'],
  },
  'operate:quiet-log': {
    promise: 'No client can write more than a bounded number of lines into the log.',
    on: fabric,
    attacks: ['noisy-log'],
  },
  'operate:fail-closed': {
    promise: 'A room that cannot answer refuses the exchange; nothing passes undecided.',
    on: everywhere,
    attacks: ['stale-mesh-state'],
  },
  'operate:no-debugger': {
    promise: 'No signal makes the server open a debugger, through which its keys could be read.',
    on: fabric,
    attacks: ['debugger-by-signal'],
  },
  'operate:fatal-ends': {
    promise:
      'After a fatal error the process ends within two seconds with a documented code, and can start again.',
    on: fabric,
  },
  'operate:clean-stop': {
    promise: 'A stop finishes or records what is under way, and leaves nothing half written.',
    on: fabric,
    attacks: ['idle-at-stop'],
  },
} as const satisfies Readonly<Record<string, Requirement>>

export type RequirementId = keyof typeof REQUIREMENTS

/** A citation of one promise, on all of its transports or, with `@`, on one of them. */
export type Citation = RequirementId | `${RequirementId}@${Transport}`

/** The title of a test that verifies these promises: `test(verifies(['a:b'], 'a sentence'), …)`. */
export function verifies(ids: readonly [Citation, ...Citation[]], sentence: string): string {
  return `${sentence} ${ids.map((id) => `[${id}]`).join(' ')}`
}

/** Every attack that some promise withstands; each is a file of `test/hostile`. */
export const ATTACKS: ReadonlySet<string> = new Set(
  Object.values<Requirement>(REQUIREMENTS).flatMap(({ attacks = [] }) => attacks),
)

export function findRequirement(id: string): Requirement | null {
  return Object.entries<Requirement>(REQUIREMENTS).find(([known]) => known === id)?.[1] ?? null
}

import { connectorFaults, type Fault, runFaults, startFaults } from './table.ts'

/** `docs/operate/faults.md`, from the table that the tests carry out. */
export function formatFaults(): string {
  return [
    '# Process faults',
    '',
    'What an operator sees when a process or what it stands on breaks: the exit code, how long it takes, the message, and what the next',
    'start needs. Each row is carried out by `test/engines/process-faults.test.ts` on a real process, which then starts again. What each',
    'exit code means for a supervisor: [how a server ends](recover.md#how-a-server-ends).',
    '',
    ...section('At the start', startFaults),
    ...section('While it runs', runFaults),
    ...section('A connector', connectorFaults),
  ].join('\n')
}

function section(title: string, faults: readonly Fault[]): readonly string[] {
  return [
    `## ${title}`,
    '',
    '| fault | ends with | within | message | before the next start |',
    '| --- | --- | --- | --- | --- |',
    ...faults.map(
      ({ fault, ends, within, message, next, mayRefuse = false }) =>
        `| ${fault.replace(/^connector: /, '')} | ${formatEnd(ends)}${mayRefuse ? ', or it refuses until then' : ''} | ${within || '—'} | ${message || '—'} | ${next || 'nothing'} |`,
    ),
    '',
  ]
}

function formatEnd(ends: Fault['ends']): string {
  if (ends === 'runs') return 'it goes on'
  return typeof ends === 'number' ? String(ends) : `signal ${ends.slice(3)}`
}

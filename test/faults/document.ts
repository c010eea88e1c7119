import { connectorFaults, type Fault, runFaults, startFaults } from './table.ts'

/** `docs/operate/faults.md`, from the table that the tests carry out. */
export function formatFaults(): string {
  return [
    '# Process faults',
    '',
    'Each row is a fault of a process or of its environment, with the exit code, the time until the',
    'process ends, the message, and the action before the next start.',
    '`test/engines/process-faults.test.ts` runs each row on a real process, which then starts again. For',
    'supervisors: [exit codes](recover.md#exit-codes).',
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
    '| Fault | Ends with | Within | Message | Before the next start |',
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

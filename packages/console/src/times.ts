/** Returns `2026-11-27 23:08:01 UTC`: the same in every time zone, as an auditor compares it. */
export function formatUtc(unixMs: number): string {
  const date = new Date(unixMs)
  if (Number.isNaN(date.getTime())) return `${unixMs} ms after 1970`
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

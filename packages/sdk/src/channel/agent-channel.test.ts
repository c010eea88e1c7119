import { expect, test } from 'vitest'
import { faultOf, sdkLab } from '../../../../test/harness/sdk-lab.ts'

const lab = sdkLab()

test('a channel asks the fabric in signed requests, and passes its refusal on', async () => {
  const channel = lab.caller.channel('invoices')
  expect(await faultOf(channel.receive({ group: 'g', waitMs: 0 }))).toBe('OPERATION_UNKNOWN')
  expect(await faultOf(channel.send('x'))).toBe('OPERATION_UNKNOWN')
  expect(() => lab.caller.channel('../invoices')).toThrow('REQUEST_MALFORMED')
})

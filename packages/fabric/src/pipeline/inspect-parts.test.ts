import { utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { createRedactor } from '../redaction/scan/create-redactor.ts'
import { inspectParts, noParts } from './inspect-parts.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32) })
const order = { mask: ['email'], block: [] }

test('the findings in all parts of an event together are bounded', () => {
  const addresses = (count: number) =>
    Array.from({ length: count }, (_, at) => `a${at}@b.example`).join(' ')
  const event = (inBody: number, inFrame: number) =>
    inspectParts(
      {
        ...noParts,
        ...{ frame: [['id', addresses(inFrame)]], contentType: 'text/plain' },
        body: utf8(addresses(inBody)),
      },
      order,
      redactor,
    )
  expect(event(15_000, 5_000)).toMatchObject({ findings: { length: 20_000 } })
  expect(event(15_000, 5_001)).toMatchObject({
    ...{ code: 'MESSAGE_TOO_LARGE', limit: 'inspect.findings, 20000' },
  })
})
